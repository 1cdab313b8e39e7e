// Mounts the login screen as ViUR's admin does: the same components, stores and translations, and the elements around it.
import "@viur/shoelace/dist/themes/viur.css"
import "@viur/shoelace/dist/components/alert/alert.js"
import "@viur/shoelace/dist/components/bar/bar.js"
import "@viur/shoelace/dist/components/button/button.js"
import "@viur/shoelace/dist/components/checkbox/checkbox.js"
import "@viur/shoelace/dist/components/details/details.js"
import "@viur/shoelace/dist/components/icon/icon.js"
import "@viur/shoelace/dist/components/input/input.js"
import "@viur/shoelace/dist/components/option/option.js"
import "@viur/shoelace/dist/components/select/select.js"
import "@viur/shoelace/dist/components/spinner/spinner.js"
import "@viur/shoelace/dist/components/switch/switch.js"
import "@viur/shoelace/dist/components/tooltip/tooltip.js"
import { registerIconLibrary } from "@viur/shoelace/dist/utilities/icon-library.js"
import { en_translations } from "@viur/vue-utils"
import Bone from "@viur/vue-utils/bones/edit/bone.vue"
import { createPinia } from "pinia"
import { createApp } from "vue"
import { createI18n } from "vue-i18n"
import { createRouter, createWebHashHistory } from "vue-router"
import App from "./App.vue"
import { texts } from "./texts.js"

const DOT = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='6'/></svg>"
for (const library of ["default", "bootstrap"]) {
  registerIconLibrary(library, { resolver: () => DOT })
}

const app = createApp(App)
app.use(createPinia())
app.use(createRouter({ history: createWebHashHistory(), routes: [{ path: "/", component: App }] }))
app.use(createI18n({ legacy: false, locale: "en", messages: { en: { ...en_translations, ...texts } } }))
app.component("Bone", Bone)
app.mount("#app")
