"""The commands behind the Makefile: run, refresh and compare notebooks, check the built site."""
