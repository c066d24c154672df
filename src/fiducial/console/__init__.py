"""The console: the web pages and the HTTP interface where people oversee agents."""
