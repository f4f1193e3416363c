//! The type of a function as a tree that can be compared and shown.
//!
//! The engine only says *that* a component's type differs ("expected variant of 3 cases"); an author needs to know
//! where. A [`Shape`] is read from a component and from a version's own table, and [`Func::difference`] names the
//! first place where they part.

use std::fmt;

use wasmtime::component::types::{ComponentFunc, Type};

/// A value's type, names included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin) enum Shape {
    Bool,
    U8,
    U32,
    U64,
    String,
    List(Box<Shape>),
    Option(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(String, Shape)>),
    Variant(Vec<(String, Option<Shape>)>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    /// Any type no version uses, by its name.
    Other(String),
}

/// A function's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin) struct Func {
    pub(in crate::plugin) is_async: bool,
    pub(in crate::plugin) params: Vec<(String, Shape)>,
    pub(in crate::plugin) result: Option<Shape>,
}

pub(super) fn list(of: Shape) -> Shape {
    Shape::List(Box::new(of))
}

pub(super) fn option(of: Shape) -> Shape {
    Shape::Option(Box::new(of))
}

pub(super) fn tuple<const N: usize>(of: [Shape; N]) -> Shape {
    Shape::Tuple(of.into())
}

pub(super) fn record<const N: usize>(fields: [(&str, Shape); N]) -> Shape {
    Shape::Record(fields.map(|(name, of)| (name.to_owned(), of)).into())
}

pub(super) fn variant<const N: usize>(cases: [(&str, Shape); N]) -> Shape {
    Shape::Variant(cases.map(|(name, of)| (name.to_owned(), Some(of))).into())
}

pub(super) fn result(ok: Option<Shape>, err: Option<Shape>) -> Shape {
    Shape::Result(ok.map(Box::new), err.map(Box::new))
}

impl From<Type> for Shape {
    fn from(ty: Type) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::U8 => Self::U8,
            Type::U32 => Self::U32,
            Type::U64 => Self::U64,
            Type::String => Self::String,
            Type::List(of) => list(of.ty().into()),
            Type::Option(of) => option(of.ty().into()),
            Type::Tuple(of) => Self::Tuple(of.types().map(Self::from).collect()),
            Type::Record(of) => Self::Record(
                of.fields()
                    .map(|field| (field.name.to_owned(), field.ty.into()))
                    .collect(),
            ),
            Type::Variant(of) => Self::Variant(
                of.cases()
                    .map(|case| (case.name.to_owned(), case.ty.map(Self::from)))
                    .collect(),
            ),
            Type::Result(of) => result(of.ok().map(Self::from), of.err().map(Self::from)),
            Type::S8 => Self::Other("s8".into()),
            Type::S16 => Self::Other("s16".into()),
            Type::U16 => Self::Other("u16".into()),
            Type::S32 => Self::Other("s32".into()),
            Type::S64 => Self::Other("s64".into()),
            Type::Float32 => Self::Other("f32".into()),
            Type::Float64 => Self::Other("f64".into()),
            Type::Char => Self::Other("char".into()),
            Type::Enum(of) => Self::Other(format!(
                "enum {{ {} }}",
                of.names().collect::<Vec<_>>().join(", ")
            )),
            Type::Flags(_) => Self::Other("flags".into()),
            Type::Own(_) | Type::Borrow(_) => Self::Other("a resource".into()),
            Type::Future(_) => Self::Other("future".into()),
            Type::Stream(_) => Self::Other("stream".into()),
            Type::ErrorContext => Self::Other("error-context".into()),
            Type::Map(_) => Self::Other("map".into()),
            Type::FixedLengthList(_) => Self::Other("a list of fixed length".into()),
        }
    }
}

impl From<&ComponentFunc> for Func {
    fn from(func: &ComponentFunc) -> Self {
        Self {
            is_async: func.async_(),
            params: func
                .params()
                .map(|(name, ty)| (name.to_owned(), ty.into()))
                .collect(),
            result: func.results().next().map(Shape::from),
        }
    }
}

/// Short: the names of records are enough, their fields are not shown.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::U8 => f.write_str("u8"),
            Self::U32 => f.write_str("u32"),
            Self::U64 => f.write_str("u64"),
            Self::String => f.write_str("string"),
            Self::List(of) => write!(f, "list<{of}>"),
            Self::Option(of) => write!(f, "option<{of}>"),
            Self::Tuple(of) => {
                let of: Vec<_> = of.iter().map(Self::to_string).collect();
                write!(f, "tuple<{}>", of.join(", "))
            }
            Self::Record(of) => write!(f, "a record of {} fields", of.len()),
            Self::Variant(of) => write!(f, "a variant of {} cases", of.len()),
            Self::Result(..) => f.write_str("result"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl Func {
    /// The first place where `found` is not of this type.
    pub(in crate::plugin) fn difference(&self, found: &Self) -> Option<String> {
        if found.is_async && !self.is_async {
            return Some("it is exported `async`, the contract's is not".into());
        }
        let names = |func: &Self| -> Vec<String> {
            func.params.iter().map(|(name, _)| name.clone()).collect()
        };
        if self.params.len() != found.params.len() {
            return Some(format!(
                "its parameters are ({}), the contract's are ({})",
                names(found).join(", "),
                names(self).join(", ")
            ));
        }
        for ((name, want), (_, have)) in self.params.iter().zip(&found.params) {
            if let Some(found) = differs(name, want, have) {
                return Some(found);
            }
        }
        match (&self.result, &found.result) {
            (Some(want), Some(have)) => differs("result", want, have),
            (Some(_), None) => Some("it returns nothing".into()),
            (None, Some(have)) => Some(format!("it returns {have}, the contract nothing")),
            (None, None) => None,
        }
    }
}

fn differs(at: &str, want: &Shape, have: &Shape) -> Option<String> {
    match (want, have) {
        (Shape::List(want), Shape::List(have)) | (Shape::Option(want), Shape::Option(have)) => {
            differs(at, want, have)
        }
        (Shape::Record(want), Shape::Record(have)) => {
            let wrap = |fields: &[(String, Shape)]| -> Vec<(String, Option<Shape>)> {
                fields
                    .iter()
                    .map(|(name, of)| (name.clone(), Some(of.clone())))
                    .collect()
            };
            parts(at, "field", &wrap(want), &wrap(have))
        }
        (Shape::Variant(want), Shape::Variant(have)) => parts(at, "case", want, have),
        (Shape::Result(ok, err), Shape::Result(has_ok, has_err)) => {
            optional(&format!("{at}.ok"), ok.as_deref(), has_ok.as_deref())
                .or_else(|| optional(&format!("{at}.err"), err.as_deref(), has_err.as_deref()))
        }
        _ if want == have => None,
        _ => Some(format!("`{at}` is {have}, the contract's is {want}")),
    }
}

fn optional(at: &str, want: Option<&Shape>, have: Option<&Shape>) -> Option<String> {
    match (want, have) {
        (Some(want), Some(have)) => differs(at, want, have),
        (None, None) => None,
        (Some(want), None) => Some(format!("`{at}` carries nothing, the contract's is {want}")),
        (None, Some(have)) => Some(format!("`{at}` is {have}, the contract's carries nothing")),
    }
}

fn parts(
    at: &str,
    what: &str,
    want: &[(String, Option<Shape>)],
    have: &[(String, Option<Shape>)],
) -> Option<String> {
    let has = |all: &[(String, Option<Shape>)], name: &str| all.iter().any(|(n, _)| n == name);
    if let Some((name, _)) = want.iter().find(|(name, _)| !has(have, name)) {
        return Some(format!("`{at}` has no {what} `{name}`"));
    }
    if let Some((name, _)) = have.iter().find(|(name, _)| !has(want, name)) {
        return Some(format!(
            "`{at}` has a {what} `{name}` that the contract has not"
        ));
    }
    for ((name, want), (has_name, have)) in want.iter().zip(have) {
        if name != has_name {
            return Some(format!(
                "`{at}` has its {what}s in another order: `{has_name}` where the contract has `{name}`"
            ));
        }
        if let Some(found) = optional(&format!("{at}.{name}"), want.as_ref(), have.as_ref()) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn func(message: Shape) -> Func {
        Func {
            is_async: false,
            params: vec![("message".into(), message)],
            result: Some(result(Some(list(Shape::U8)), None)),
        }
    }

    #[test]
    fn names_the_first_place_that_differs() {
        use Shape::{String, U8, U32};
        let want = func(record([("id", String), ("key", option(list(U8)))]));
        for (have, said) in [
            (record([("id", String)]), "`message` has no field `key`"),
            (
                record([("id", String), ("key", option(list(U8))), ("x", U8)]),
                "`message` has a field `x` that the contract has not",
            ),
            (
                record([("key", option(list(U8))), ("id", String)]),
                "`message` has its fields in another order: `key` where the contract has `id`",
            ),
            (
                record([("id", String), ("key", list(U8))]),
                "`message.key` is list<u8>, the contract's is option<list<u8>>",
            ),
            (
                record([("id", U32), ("key", option(list(U8)))]),
                "`message.id` is u32, the contract's is string",
            ),
            (
                String,
                "`message` is string, the contract's is a record of 2 fields",
            ),
        ] {
            assert_eq!(want.difference(&func(have)).as_deref(), Some(said));
        }
        assert_eq!(want.difference(&want), None);
        let mut other = want.clone();
        other.result = None;
        assert_eq!(
            want.difference(&other).as_deref(),
            Some("it returns nothing")
        );
        other = want.clone();
        other.is_async = true;
        assert!(want.difference(&other).is_some());
    }
}
