//! The contracts this host can speak, one file and one set of bindings per version.
//!
//! Component types are compared exactly, so a version once shipped stays here as long as components of it may be
//! around. Everything outside this folder speaks the host's own vocabulary.

pub(super) mod shape;
pub(super) mod v0_1_0_rc;

use crate::handler::{AttemptInfo, Outcome};
use crate::message::Message;

use super::context::Context;
use super::settings::HeaderSelection;

/// The package every version belongs to.
pub(super) const PACKAGE: &str = "wharf:messaging/";

/// What a call tells the guest beside the message.
#[derive(Clone, Copy)]
pub(super) struct CallInfo<'a> {
    pub(super) attempt: AttemptInfo,
    pub(super) time_left_ms: u32,
    pub(super) origin: bool,
    pub(super) headers: &'a HeaderSelection,
}

/// A component linked against its version of the contract, ready to be instantiated.
pub(super) enum Prepared {
    V0_1_0Rc(v0_1_0_rc::PluginPre<Context>),
}

/// One instance, spoken to in its version of the contract.
pub(super) enum Guest {
    V0_1_0Rc(v0_1_0_rc::Plugin),
}

impl Prepared {
    pub(super) async fn instantiate(
        &self,
        store: &mut wasmtime::Store<Context>,
    ) -> wasmtime::Result<Guest> {
        match self {
            Self::V0_1_0Rc(pre) => Ok(Guest::V0_1_0Rc(pre.instantiate_async(store).await?)),
        }
    }
}

impl Guest {
    /// Runs one message.
    pub(super) async fn handle(
        &self,
        store: &mut wasmtime::Store<Context>,
        message: &Message,
        info: CallInfo<'_>,
    ) -> wasmtime::Result<Outcome> {
        match self {
            Self::V0_1_0Rc(guest) => v0_1_0_rc::handle(guest, store, message, info).await,
        }
    }
}
