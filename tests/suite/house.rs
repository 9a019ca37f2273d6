//! Tests of the source tree itself: which module may use which, how things are named, how long files are, and how the prose
//! is written. They read the files as text and run nothing.

mod contributing;
mod cycles;
mod layers;
mod names;
mod prose;
mod sizes;
mod source;
