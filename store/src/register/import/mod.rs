//! Entities and readings out of files. Pure: text in, values or named errors out.
