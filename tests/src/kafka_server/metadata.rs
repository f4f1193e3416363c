//! One question in Kafka's own protocol: how many brokers does this one know?
//!
//! A broker answers long before it is of use. Once it lists itself and the others, topics can be made.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Metadata, version 1, about no topic: header (key, version, correlation, no client id) and an empty list.
const REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];
/// No honest answer is longer.
const LONGEST: u32 = 1 << 20;

/// Asks.
pub(super) async fn brokers(port: u16) -> io::Result<usize> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(&REQUEST).await?;
    let size = stream.read_u32().await?;
    if !(8..LONGEST).contains(&size) {
        return Err(io::Error::other("this is not Kafka"));
    }
    let _correlation = stream.read_u32().await?;
    let count = stream.read_u32().await?;
    Ok(count as usize)
}
