//! As much of a PostgreSQL backend as one statement needs: every query has one row with the number 1.

use std::io;

use actix_web::rt::{net::TcpListener, net::TcpStream, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};

const INT8: u32 = 20;
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Listens, on the current runtime, and returns the DSN.
pub(crate) async fn start() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(session(stream));
        }
    });
    Ok(format!("postgres://bench@127.0.0.1:{port}/bench"))
}

/// Ends when the client goes.
async fn session(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (input, output) = stream.into_split();
    let (mut input, mut output) = (BufReader::new(input), BufWriter::new(output));
    let mut body = Vec::new();
    loop {
        read_body(&mut input, &mut body).await?;
        if !body.starts_with(&SSL_REQUEST) {
            break;
        }
        output.write_all(b"N").await?;
        output.flush().await?;
    }
    let mut answer = Vec::new();
    message(&mut answer, b'R', &0_u32.to_be_bytes());
    message(&mut answer, b'K', &[0; 8]);
    ready(&mut answer);
    loop {
        output.write_all(&answer).await?;
        // Whoever pipelines gets its answers together, as from PostgreSQL.
        if input.buffer().is_empty() {
            output.flush().await?;
        }
        answer.clear();
        let kind = input.read_u8().await?;
        read_body(&mut input, &mut body).await?;
        respond(kind, &mut answer);
    }
}

async fn read_body(input: &mut (impl AsyncReadExt + Unpin), body: &mut Vec<u8>) -> io::Result<()> {
    let length = input.read_u32().await?.saturating_sub(4);
    body.resize(length as usize, 0);
    input.read_exact(body).await.map(drop)
}

fn respond(kind: u8, answer: &mut Vec<u8>) {
    match kind {
        b'P' => message(answer, b'1', &[]),
        b'B' => message(answer, b'2', &[]),
        b'C' => message(answer, b'3', &[]),
        b'D' => {
            message(answer, b't', &[&[0, 1], &INT8.to_be_bytes()[..]].concat());
            message(answer, b'T', &row_description());
        }
        b'E' => {
            let length = 8_u32.to_be_bytes();
            let row = [&[0, 1], &length[..], &1_i64.to_be_bytes()].concat();
            message(answer, b'D', &row);
            message(answer, b'C', b"SELECT 1\0");
        }
        b'Q' => {
            message(answer, b'C', b"SET\0");
            ready(answer);
        }
        b'S' => ready(answer),
        _ => {}
    }
}

/// One column: name, table, number in it, type, its size and modifier, format.
fn row_description() -> Vec<u8> {
    let mut row = vec![0, 1];
    row.extend_from_slice(b"id\0");
    row.extend_from_slice(&[0; 6]);
    row.extend_from_slice(&INT8.to_be_bytes());
    row.extend_from_slice(&8_i16.to_be_bytes());
    row.extend_from_slice(&(-1_i32).to_be_bytes());
    row.extend_from_slice(&1_i16.to_be_bytes());
    row
}

fn ready(answer: &mut Vec<u8>) {
    message(answer, b'Z', b"I");
}

fn message(answer: &mut Vec<u8>, kind: u8, body: &[u8]) {
    answer.push(kind);
    answer.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    answer.extend_from_slice(body);
}
