"""How a platform says that an answer ended, in the words of all of them, small letters."""

from __future__ import annotations

TRUNCATED = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
REFUSED = {
    "content_filter", "content_filtered", "refusal", "guardrail_intervened",
    "safety", "recitation", "blocklist", "prohibited_content", "spii",
}  # fmt: skip
