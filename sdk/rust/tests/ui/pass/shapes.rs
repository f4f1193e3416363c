//! Every shape of handler that the documentation names.
#![deny(warnings)]

use wharf_sdk::prelude::*;

#[derive(Deserialize)]
struct Order {
    id: String,
}

mod owned {
    use super::*;
    #[wharf_sdk::handler]
    fn handle(message: Message) -> Outgoing {
        message.forward("out")
    }
}

mod borrowed {
    use super::*;
    #[wharf_sdk::handler]
    pub fn handle(message: &Message) -> Option<Outgoing> {
        message.reply_to.is_some().then(|| message.reply("pong"))
    }
}

mod typed {
    use super::*;
    #[wharf_sdk::handler]
    fn handle(Json(order): Json<Order>) -> Result<Outgoing> {
        Outgoing::json("orders", &order.id)
    }
}

mod payload_and_message {
    use super::*;
    #[wharf_sdk::handler]
    fn handle(Json(order): Json<Order>, message: Message) -> Result<(Outgoing, Outgoing)> {
        Ok((Outgoing::text("a", order.id), message.forward("b")))
    }
}

mod payload_and_borrowed_message {
    use super::*;
    #[wharf_sdk::handler]
    fn handle(order: Json<Order>, message: &Message) -> [Outgoing; 2] {
        [Outgoing::text("a", order.0.id), message.reply("b")]
    }
}

mod text {
    use super::*;
    #[wharf_sdk::handler]
    fn handle(mut text: String) -> Result<Vec<Outgoing>, std::num::ParseIntError> {
        text.push('0');
        let count: usize = text.parse()?;
        Ok(vec![Outgoing::text("out", text); count])
    }
}

mod bytes {
    #[wharf_sdk::handler]
    fn handle(bytes: Vec<u8>) {
        drop(bytes);
    }
}

mod slices {
    use super::*;
    /// Attributes and documentation stay with the function.
    #[wharf_sdk::handler]
    #[allow(clippy::needless_pass_by_value)]
    fn handle(text: &str, bytes: &[u8]) -> Result<(), String> {
        if text.len() == bytes.len() { Ok(()) } else { Err("odd".to_owned()) }
    }
}

mod without_the_prelude {
    #[wharf_sdk::handler]
    fn handle(_: wharf_sdk::Message) -> wharf_sdk::Result<()> {
        Ok(())
    }
}

fn main() {}
