"""A recorded forward pass becomes an architecture: a rule per operation says where its neurons are afterwards."""
