// The page and Millrace's API have one origin: /api goes to the server, as behind a proxy in production.
const proxy = { "/api": process.env.MILLRACE_URL ?? "http://127.0.0.1:8000" };

export default { esbuild: { jsx: "automatic" }, server: { proxy }, preview: { proxy } };
