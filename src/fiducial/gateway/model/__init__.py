"""The door for models: programs that speak OpenAI's or Anthropic's API come through here by another address alone.

`http` is the door, `conversations` says which session a request belongs to, `turn` takes in what the model reads and
decides what it wants. `chat`, `responses` and `messages` know one API each; `api` is what they have in common.
"""
