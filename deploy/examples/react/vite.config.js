// The client comes from the server's own files; an app of yours copies them, or installs the folder as a package.
// The page and Millrace's API have one origin: /api goes to the server, as behind a proxy in production.
import { fileURLToPath } from "node:url";

const client = process.env.MILLRACE_CLIENT ?? fileURLToPath(new URL("../../../webapp/static", import.meta.url));
const proxy = { "/api": process.env.MILLRACE_URL ?? "http://127.0.0.1:8000" };

export default {
  esbuild: { jsx: "automatic" },
  resolve: { alias: { "millrace-client": `${client}/client.js` } },
  server: { proxy, fs: { allow: [".", client] } },
  preview: { proxy },
};
