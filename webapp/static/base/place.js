// Where the static files lie. All scripts may be one in a folder beside `base`, so only scripts in folders may ask.

export const STATIC = new URL("..", import.meta.url);
