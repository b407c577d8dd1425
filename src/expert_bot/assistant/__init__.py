"""The chat engine: understand a question, look the figures up in the profile, phrase the answer. Pure, no clock."""
