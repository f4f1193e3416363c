use wharf_sdk::prelude::*;

trait Handles {
    #[wharf_sdk::handler]
    fn handle(message: Message);
}

fn main() {}
