"""The kinds of pages: what a template asks of the catalogue, a module for each kind."""
