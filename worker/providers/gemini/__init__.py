"""Google's Gemini API: `streamGenerateContent` and `generateContent`, with an API key.

`client.py` calls the service; `arguments.py`, `mapping.py` and `errors.py` are pure and translate between Millrace's
types and Google's.
"""
