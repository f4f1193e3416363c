use wharf_sdk::prelude::*;

struct State;

impl State {
    #[wharf_sdk::handler]
    fn handle(&self, message: Message) {
        drop(message);
    }
}

fn main() {}
