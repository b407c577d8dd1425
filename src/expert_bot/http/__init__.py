"""The HTTP surface: a thin aiohttp application over the same dispatcher as every other transport."""
