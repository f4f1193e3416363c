//! What is written beside the author's function.
//!
//! The glue is compiled on every target, so that a wrong argument or return type is an error of
//! `cargo check` on the author's machine too; only the export itself is kept to Wasm.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, Type};

use crate::signature::{self, Signature};

pub(crate) fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // The item is kept beside an error, so that there is one error and not one for each use of the
    // function too.
    match signature::check(arguments, item.clone()) {
        Ok((function, signature)) => {
            let glue = glue(&function, &signature);
            quote! { #function #glue }
        }
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #item #error }
        }
    }
}

fn glue(function: &ItemFn, signature: &Signature) -> TokenStream {
    let name = &function.sig.ident;
    let names: Vec<_> = (0..signature.arguments.len())
        .map(|i| format_ident!("argument_{i}"))
        .collect();
    let reads = names
        .iter()
        .zip(&signature.arguments)
        .enumerate()
        .map(|(i, (name, ty))| {
            // The last argument may have the message to itself, unless an earlier one borrows from it.
            let takes = i + 1 == names.len() && !signature.borrows;
            let read = read(ty, takes);
            quote! { let #name = #read; }
        });
    let reply = quote_spanned! { signature.output.span() =>
        ::wharf_sdk::IntoReply::into_reply(reply)
    };
    quote! {
        const _: () = {
            #[allow(dead_code)] // Nothing names it where nothing is exported.
            struct Handler;

            #[allow(dead_code, clippy::unit_arg, clippy::let_unit_value)]
            impl ::wharf_sdk::contract::Guest for Handler {
                fn handle(
                    message: ::wharf_sdk::Message,
                ) -> ::wharf_sdk::__private::Result<
                    ::wharf_sdk::__private::Vec<::wharf_sdk::Outgoing>,
                    ::wharf_sdk::contract::Failure,
                > {
                    ::wharf_sdk::__private::finish((move || {
                        #(#reads)*
                        let reply = #name(#(#names),*);
                        #reply
                    })())
                }
            }

            #[cfg(target_family = "wasm")]
            ::wharf_sdk::__private::export!(Handler with_types_in ::wharf_sdk::__private::bindings);
        };
    }
}

fn read(ty: &Type, takes: bool) -> TokenStream {
    match ty {
        Type::Reference(reference) => {
            let ty = &reference.elem;
            quote_spanned! { ty.span() =>
                <#ty as ::wharf_sdk::FromMessageRef>::from_message_ref(&message)?
            }
        }
        ty if takes => quote_spanned! { ty.span() =>
            <#ty as ::wharf_sdk::FromMessage>::take_message(message)?
        },
        ty => quote_spanned! { ty.span() =>
            <#ty as ::wharf_sdk::FromMessage>::from_message(&message)?
        },
    }
}
