//! A TCP port that nobody else uses.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Below the ports that Linux, macOS and the BSDs give to outgoing connections. From those, a
/// client that keeps trying to connect to a stopped server would sooner or later be given that
/// server's port, and be connected to itself.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// How many random ports are tried.
const ATTEMPTS: u32 = 200;

/// A port held by a socket that does not listen: connecting to it is refused, and no other
/// reservation gets it.
#[derive(Debug)]
pub(crate) struct Reservation {
    port: u16,
    _socket: Socket,
}

impl Reservation {
    pub(crate) fn any() -> io::Result<Self> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for attempt in 0..ATTEMPTS {
            let random = RandomState::new().hash_one(attempt) % u64::from(PORTS.end - PORTS.start);
            result = Self::of(PORTS.start + random as u16);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    pub(crate) fn of(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        Ok(Self { port, _socket: socket })
    }

    /// Lets the port go, for the server to take.
    pub(crate) fn release(self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_reserved_port_refuses_connections_and_other_reservations() {
        let reservation = Reservation::any().unwrap();
        let port = reservation.port;
        assert!(Reservation::of(port).is_err());
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(reservation.release(), port);
        Reservation::of(port).unwrap();
    }
}
