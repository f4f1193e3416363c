//! What a handler's function may look like, and what is said about one that does not.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type, parse_quote_spanned};

/// The parts of the function that the glue needs.
pub(crate) struct Signature {
    /// The types of the arguments: one or two.
    pub(crate) arguments: Vec<Type>,
    /// Whether any of them is a reference, so that the message must outlive the call.
    pub(crate) borrows: bool,
    /// What it returns, `()` where nothing is written.
    pub(crate) output: Type,
}

/// Parses the item, or names all that is wrong with it at once.
pub(crate) fn check(arguments: TokenStream, item: TokenStream) -> Result<(ItemFn, Signature)> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(
            arguments,
            "the attribute takes no arguments: write `#[wharf_sdk::handler]`",
        ));
    }
    let function: ItemFn = syn::parse2(item.clone()).map_err(|_| {
        let first = item.into_iter().next().map_or_else(Span::call_site, |token| token.span());
        Error::new(first, "a handler is a free function with a body: `fn handle(order: Json<Order>) -> Result<Outgoing>`")
    })?;
    let mut problems = Problems(None);
    qualifiers(&function, &mut problems);
    let arguments = inputs(&function, &mut problems);
    let output = output(&function, &mut problems);
    problems.into_result()?;
    let borrows = arguments.iter().any(|ty| matches!(ty, Type::Reference(_)));
    Ok((
        function,
        Signature {
            arguments,
            borrows,
            output,
        },
    ))
}

/// Errors found so far, reported together.
struct Problems(Option<Error>);

impl Problems {
    fn add(&mut self, at: impl ToTokens, message: &str) {
        let error = Error::new_spanned(at, message);
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

fn qualifiers(function: &ItemFn, problems: &mut Problems) {
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness {
        problems.add(
            word,
            "a handler is not async: the host runs other messages while this one waits",
        );
    }
    if let Some(word) = &signature.unsafety {
        problems.add(word, "a handler is called by the host and cannot be unsafe");
    }
    if let Some(abi) = &signature.abi {
        problems.add(abi, "a handler has no ABI of its own: the macro exports it");
    }
    if !signature.generics.params.is_empty() {
        problems.add(
            &signature.generics,
            "a handler cannot be generic: the host calls it with one type",
        );
    }
    if let Some(dots) = &signature.variadic {
        problems.add(dots, "a handler cannot be variadic");
    }
}

fn inputs(function: &ItemFn, problems: &mut Problems) -> Vec<Type> {
    let signature = &function.sig;
    let mut types = Vec::new();
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => problems.add(
                receiver,
                "a handler is a free function: no state outlives a message, so there is no `self`",
            ),
            FnArg::Typed(typed) => {
                argument(&typed.ty, problems);
                types.push((*typed.ty).clone());
            }
        }
    }
    if signature.inputs.is_empty() {
        problems.add(
            &signature.ident,
            "a handler takes a message: add an argument such as `message: Message` or `order: Json<Order>`",
        );
    }
    if let Some(third) = signature.inputs.iter().nth(2) {
        problems.add(
            third,
            "a handler takes at most two arguments: the payload and the message",
        );
    }
    types
}

fn argument(ty: &Type, problems: &mut Problems) {
    match ty {
        Type::ImplTrait(_) => {
            problems.add(ty, "a handler's argument needs a type that can be named")
        }
        Type::Reference(reference) => {
            if let Some(word) = &reference.mutability {
                problems.add(
                    word,
                    "a handler cannot borrow mutably: take the argument by value",
                );
            }
            if let Some(lifetime) = &reference.lifetime {
                problems.add(
                    lifetime,
                    "leave the lifetime out: the argument lives for the call",
                );
            }
        }
        _ => {}
    }
}

fn output(function: &ItemFn, problems: &mut Problems) -> Type {
    match &function.sig.output {
        ReturnType::Default => parse_quote_spanned!(function.sig.ident.span() => ()),
        ReturnType::Type(_, ty) => {
            if matches!(**ty, Type::ImplTrait(_) | Type::Never(_)) {
                problems.add(
                    ty,
                    "a handler returns a type that can be named, such as `Result<Outgoing>`",
                );
            }
            let _whole = ty.span();
            (**ty).clone()
        }
    }
}
