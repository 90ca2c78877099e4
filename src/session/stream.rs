//! One stream to the server, and the address it leads to.
//!
//! tokio-postgres can open its own, but then nobody learns which of several addresses it chose, nor when the
//! server has hung up. Both are needed here: a cancel request has to go to the same server and to have been
//! carried out before the session is lent again, and a place in the pool is free only when its backend is gone.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};

use super::race::Turn;
use crate::config::{Host, Keepalive, Server, ServerSettings};
use crate::telemetry::Peer;

/// Where one backend can be reached again.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp { host: String, address: SocketAddr },
    Unix(PathBuf),
}

impl Address {
    /// The addresses of one server, in the order in which DNS gave them.
    pub(crate) async fn resolve(server: &Server) -> io::Result<Vec<Self>> {
        match (&server.host, server.hostaddr) {
            (Host::Unix(directory), _) => {
                Ok(vec![Self::Unix(directory.join(format!(".s.PGSQL.{}", server.port)))])
            }
            (Host::Tcp(host), Some(ip)) => Ok(vec![Self::tcp(host, (ip, server.port).into())]),
            (Host::Tcp(host), None) => {
                let found = lookup_host((host.as_str(), server.port)).await?;
                Ok(found.map(|address| Self::tcp(host, address)).collect())
            }
        }
    }

    fn tcp(host: &str, address: SocketAddr) -> Self {
        Self::Tcp { host: host.to_owned(), address }
    }

    /// The name that the server's certificate has to bear.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "",
        }
    }

    /// The server and a database of it, as spans name them.
    pub(crate) fn peer(&self, namespace: &str) -> Peer {
        let (address, port) = match self {
            Self::Tcp { host, address } => (host.clone(), Some(address.port())),
            Self::Unix(path) => (path.to_string_lossy().into_owned(), None),
        };
        Peer { namespace: namespace.to_owned(), address, port }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, address } if *host == address.ip().to_string() => {
                write!(f, "{address}")
            }
            Self::Tcp { host, address } => write!(f, "{host} ({address})"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A TCP or Unix-domain stream whose shutdown is complete when the other side has hung up too.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    write_closed: bool,
    moved: Arc<AtomicBool>,
    /// What has to come before the first answer is read.
    turn: Option<Turn>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// It could not be moved to another runtime.
    Lost,
}

impl Stream {
    pub(crate) async fn connect(address: &Address, settings: &ServerSettings) -> io::Result<Self> {
        let socket = match address {
            Address::Tcp { address, .. } => {
                let tcp = TcpStream::connect(address).await?;
                tcp.set_nodelay(true)?;
                watch_for_silence(&tcp, settings)?;
                Socket::Tcp(tcp)
            }
            #[cfg(unix)]
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self { socket, write_closed: false, moved: Arc::default(), turn: None })
    }

    /// Has the first answer of the server wait for its turn.
    pub(crate) fn wait_for(mut self, turn: Turn) -> Self {
        self.turn = Some(turn);
        self
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(Ok(())) };
        ready!(match &self.socket {
            Socket::Tcp(tcp) => tcp.poll_read_ready(cx),
            #[cfg(unix)]
            Socket::Unix(unix) => unix.poll_read_ready(cx),
            Socket::Lost => Poll::Ready(Ok(())),
        })?;
        ready!(turn.poll_taken(cx));
        self.turn = None;
        Poll::Ready(Ok(()))
    }

    /// Set, it has the stream register with the runtime that polls it next.
    pub(crate) fn moved(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.moved)
    }

    fn socket(&mut self) -> io::Result<&mut Socket> {
        if self.moved.load(Ordering::Relaxed) {
            self.moved.store(false, Ordering::Relaxed);
            self.socket = match mem::replace(&mut self.socket, Socket::Lost) {
                Socket::Tcp(tcp) => Socket::Tcp(TcpStream::from_std(tcp.into_std()?)?),
                #[cfg(unix)]
                Socket::Unix(unix) => Socket::Unix(UnixStream::from_std(unix.into_std()?)?),
                Socket::Lost => Socket::Lost,
            };
        }
        Ok(&mut self.socket)
    }
}

fn watch_for_silence(tcp: &TcpStream, settings: &ServerSettings) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    if let Some(Keepalive { idle, interval, retries }) = settings.keepalive {
        let mut keepalive = TcpKeepalive::new().with_time(idle);
        if let Some(interval) = interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = retries {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(settings.tcp_user_timeout)?;
    // Other systems have no such bound; there keepalive alone notices.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = settings.tcp_user_timeout;
    Ok(())
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_turn(cx))?;
        match this.socket()? {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            #[cfg(unix)]
            Socket::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Socket::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut().socket()? {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            #[cfg(unix)]
            Socket::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
            Socket::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            ready!(match self.socket()? {
                Socket::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
                #[cfg(unix)]
                Socket::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
                Socket::Lost => Poll::Ready(Ok(())),
            })?;
            self.write_closed = true;
        }
        let mut scratch = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(self.as_mut().poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // A reset is a way of hanging up as well.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
