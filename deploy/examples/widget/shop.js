// The shop's own script: it keeps the conversation over a reload, asks from a button, and shows how answers end.

const chat = document.querySelector("millrace-chat");
const report = document.querySelector("#report");

chat.conversation = sessionStorage.getItem("conversation");
chat.addEventListener("millrace-asked", ({ detail }) => sessionStorage.setItem("conversation", detail.conversation));
chat.addEventListener("millrace-answered", ({ detail }) => (report.textContent = `The answer has ${detail.text.length} characters.`));
chat.addEventListener("millrace-error", ({ detail }) => (report.textContent = detail.message));

document.querySelector("#ask").addEventListener("click", (event) => chat.ask(event.currentTarget.textContent));
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input")) return; // keys that are typed in the chat do not arrive here
  event.preventDefault();
  document.querySelector("#search").focus();
});
