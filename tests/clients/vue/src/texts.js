// What the screen asks for and its package does not bring: the application around it has these.
export const texts = {
  viur: {
    core: {
      login: { back: "Back", waiting: "Please wait", error: "That did not work." },
      modules: { user: { btn: { login: "Sign in", pwrecover: "Reset password" } } },
    },
  },
}
