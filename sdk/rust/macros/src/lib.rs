//! The attribute behind `wharf_sdk::handler`. Use it by that name; this crate has no use of its own.

mod expand;
mod signature;

use proc_macro::TokenStream;

/// Makes a plain function the handler that a component exports.
///
/// The function stays as it was written and can be called in tests. Beside it stands the glue that reads
/// its arguments from a message and turns its result into the contract's. One function in a component can
/// be the handler: a second one does not link.
///
/// The attribute takes no arguments. The function takes one or two, by value or by `&`, and is neither
/// `async` nor generic nor `unsafe`.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::handler(arguments.into(), item.into()).into()
}
