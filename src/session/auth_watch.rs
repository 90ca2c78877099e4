//! Looks at how the server asks who logs in, before the driver answers: libpq's `require_auth`.
//!
//! The driver answers whatever the server asks for, with the password in plain text too. So its stream is read along until the login
//! is over, and cut off at a request that is not allowed: the driver never sees it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::{AuthMethod, RequireAuth};
use crate::tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

/// A stream whose login is read along.
#[derive(Debug)]
pub(crate) struct AuthWatch<S> {
    stream: S,
    watch: Watch,
}

/// What of the server's messages has been read.
#[derive(Debug)]
enum Watch {
    /// Nothing is required, the login is over, or what comes is encrypted.
    Off,
    /// The server says in one byte whether it speaks TLS.
    Encrypted(Arc<RequireAuth>),
    Login(Login),
}

#[derive(Debug)]
struct Login {
    allowed: Arc<RequireAuth>,
    /// The beginning of a message: its type, its length, and what kind of authentication it is about.
    head: Vec<u8>,
    /// The rest of a message, which is of no interest.
    skip: usize,
    /// What the server has asked for so far.
    asked: AuthMethod,
}

/// A handshake whose stream is read along.
#[derive(Debug)]
pub(crate) struct WatchedHandshake<H> {
    pub(crate) handshake: H,
    pub(crate) allowed: Option<Arc<RequireAuth>>,
}

impl<S> AuthWatch<S> {
    /// `asks_for_tls` says that the server's first byte will be its answer to that.
    pub(crate) fn new(stream: S, allowed: Option<&Arc<RequireAuth>>, asks_for_tls: bool) -> Self {
        let watch = match allowed {
            None => Watch::Off,
            Some(allowed) if asks_for_tls => Watch::Encrypted(Arc::clone(allowed)),
            Some(allowed) => Watch::Login(Login::new(Arc::clone(allowed))),
        };
        Self { stream, watch }
    }
}

impl Watch {
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Self::Encrypted(allowed) = self {
            let Some((answer, rest)) = bytes.split_first() else { return Ok(()) };
            *self = match answer {
                b'N' => Self::Login(Login::new(Arc::clone(allowed))),
                // Encrypted from here on. With a direct handshake, from the first byte.
                b'S' | 0x15 | 0x16 => Self::Off,
                _ => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the server did not say whether it speaks TLS",
                    ));
                }
            };
            bytes = rest;
        }
        if let Self::Login(login) = self
            && login.read(bytes)?
        {
            *self = Self::Off;
        }
        Ok(())
    }
}

impl Login {
    fn new(allowed: Arc<RequireAuth>) -> Self {
        Self { allowed, head: Vec::with_capacity(HEAD), skip: 0, asked: AuthMethod::None }
    }

    /// Reads along. Returns whether the login is over.
    fn read(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.head.first() == Some(&b'R') { HEAD } else { HEAD - 4 };
            let Some((byte, rest)) = bytes.split_first().filter(|_| self.skip == 0) else { break };
            self.head.push(*byte);
            bytes = rest;
            if self.head.len() < wanted {
                continue;
            }
            let number = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| self.head[at + byte]));
            // The length counts itself, but not the type.
            let length = number(1) as usize + 1;
            if length < self.head.len() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a message of the server is too short",
                ));
            }
            self.skip = length - self.head.len();
            let code = (self.head[0] == b'R').then(|| number(5));
            self.head.clear();
            if let Some(code) = code
                && self.asks(code)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Refuses a kind of authentication that is not allowed. Returns whether the login has succeeded.
    fn asks(&mut self, code: u32) -> io::Result<bool> {
        let asked = match code {
            0 => self.asked,
            3 => AuthMethod::Password,
            5 => AuthMethod::Md5,
            7 => AuthMethod::Gss,
            9 => AuthMethod::Sspi,
            10 => AuthMethod::ScramSha256,
            // The next steps of what has been asked for.
            _ => return Ok(false),
        };
        self.asked = asked;
        if !self.allowed.allows(asked) {
            let problem = format!("the server asks for {asked}, which `require_auth` does not allow");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(code == 0)
    }
}

/// Type, length, kind of authentication.
const HEAD: usize = 9;

impl<S: AsyncRead + Unpin> AsyncRead for AuthWatch<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if !matches!(this.watch, Watch::Off)
            && let Err(err) = this.watch.read(&buf.filled()[before..])
        {
            buf.set_filled(before);
            return Poll::Ready(Err(err));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AuthWatch<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for AuthWatch<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

impl<S, H> TlsConnect<S> for WatchedHandshake<H>
where
    H: TlsConnect<S>,
    H::Future: Send + 'static,
{
    type Stream = AuthWatch<H::Stream>;
    type Error = H::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        let Self { handshake, allowed } = self;
        let connected = handshake.connect(stream);
        async move { Ok(AuthWatch::new(connected.await?, allowed.as_ref(), false)) }.boxed()
    }
}
