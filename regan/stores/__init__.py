"""Providers of storage behind one interface, and what is built on it; `regan.storage` is the door."""
