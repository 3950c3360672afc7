import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./chat.jsx";

// The chat's id is in the address, so that a reload and a second tab find its answer.
if (!location.hash) history.replaceState(null, "", `#${crypto.randomUUID()}`);
const sdk = new URLSearchParams(location.search).get("sdk") ?? 7;

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Chat id={location.hash.slice(1)} sdk={sdk} />
  </StrictMode>,
);
