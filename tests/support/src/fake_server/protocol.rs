//! The messages of the fake server, in version 3 of the protocol.

pub(super) const START_UP: i32 = 3 << 16;
pub(super) const CANCEL_REQUEST: i32 = 80_877_102;
pub(super) const QUERY_CANCELED: &str = "57014";
pub(super) const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];

const BIGINT: i32 = 20;
const TEXT: i32 = 25;

pub(super) fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend((body.len() as i32 + 4).to_be_bytes());
    out.extend(body);
}

pub(super) fn error(out: &mut Vec<u8>, severity: &str, code: &str) {
    message(out, b'E', format!("S{severity}\0V{severity}\0C{code}\0Mas it was told\0\0").as_bytes());
}

/// A prepared statement. Its parameters are of type `bigint`; a `SELECT` has one row with the number 1.
#[derive(Debug, Default)]
pub(super) struct Statement {
    sql: String,
    parameters: i16,
    has_row: bool,
}

impl Statement {
    pub(super) fn of(sql: &str) -> Self {
        let number = |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok();
        let parameters = sql.split('$').skip(1).filter_map(number).max().unwrap_or(0);
        Self { sql: sql.to_owned(), parameters, has_row: sql.starts_with("SELECT") }
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let types = BIGINT.to_be_bytes().repeat(self.parameters as usize);
        message(out, b't', &[&self.parameters.to_be_bytes()[..], &types].concat());
        match self.has_row {
            true => describe_row(out, BIGINT, 1),
            false => message(out, b'n', &[]),
        }
    }

    pub(super) fn execute(&self, out: &mut Vec<u8>) {
        match self.has_row {
            true => {
                row(out, &[Some(&1_i64.to_be_bytes())]);
                message(out, b'C', b"SELECT 1\0");
            }
            false => message(out, b'C', b"INSERT 0 1\0"),
        }
    }
}

/// The answer to a simple query: the number that its last statement asks for, as a reset does.
pub(super) fn answer_question(out: &mut Vec<u8>, sql: &str) {
    let asked = sql.rsplit_once("SELECT '").and_then(|(_, asked)| asked.split_once('\''));
    let Some((number, others)) = asked.filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return;
    };
    // A second column, if there is one, is NULL.
    let columns = if others.contains(',') { 2 } else { 1 };
    describe_row(out, TEXT, columns);
    row(out, &[Some(number.as_bytes()), None][..columns]);
}

/// Columns named `n`, each of one type: name, table and number in it, type, its size and modifier, format.
fn describe_row(out: &mut Vec<u8>, of_type: i32, columns: usize) {
    let column =
        [&b"n\0\0\0\0\0\0\0"[..], &of_type.to_be_bytes(), &(-1_i16).to_be_bytes(), &[0xFF; 4], &[0; 2]];
    message(out, b'T', &[&(columns as i16).to_be_bytes()[..], &column.concat().repeat(columns)].concat());
}

fn row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    let mut body = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    message(out, b'D', &body);
}
