import vue from "@vitejs/plugin-vue"
import { defineConfig } from "vite"

export default defineConfig({
  base: "/viur-login/",
  define: {
    // The renderer that today's admin is built for.
    "import.meta.env.VITE_DEFAULT_RENDERER": JSON.stringify("vi"),
  },
  plugins: [vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.startsWith("sl-") } } })],
  build: {
    target: "esnext",
    minify: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 20_000,
  },
})
