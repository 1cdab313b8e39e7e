"""A bookshop that lets authflow log its people in."""
