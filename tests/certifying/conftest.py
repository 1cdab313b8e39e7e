from authflow.certifying.plugin import certify_provider

__all__ = ["certify_provider"]
