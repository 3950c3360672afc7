"""Google's Gemini API: `POST /v1beta/models/NAME:streamGenerateContent?alt=sse` and `:generateContent`."""
