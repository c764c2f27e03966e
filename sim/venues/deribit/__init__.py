"""A simulator of Deribit, written from its documentation and from nothing of the adapter's."""
