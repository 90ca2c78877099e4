//! What an error says of the text or the name of a prepared statement.

use crate::tokio_postgres::Error;
use crate::tokio_postgres::error::{ErrorPosition, SqlState};

/// What PgBouncer says of a name that it does not know, or has already.
const NAME_ERRORS: [&str; 2] =
    ["prepared statement did not exist", "prepared statement name is already in use"];

/// Whether the server has refused a text, so that no type was looked up.
pub(super) fn is_of_text(err: &Error) -> bool {
    err.code().is_some_and(|code| {
        let refused = ["0A", "22", "25", "3D", "3F", "42"].iter().any(|class| code.code().starts_with(class));
        refused && *code != SqlState::DUPLICATE_PSTATEMENT
    })
}

/// Whether a pooler has ended the session for a name that it does not know, in the place of what has that name.
pub(crate) fn is_of_name(err: &Error) -> bool {
    // PgBouncer has this SQLSTATE for nearly all its errors, also where the statement may have run. It always speaks English.
    let said = err.as_db_error().filter(|said| *said.code() == SqlState::PROTOCOL_VIOLATION);
    said.is_some_and(|said| NAME_ERRORS.contains(&said.message()))
}

/// Whether the server may have refused a text for the types that it had when the pooler prepared it.
pub(crate) fn may_be_out_of_date(err: &Error) -> bool {
    // Those of a parameter whose type has changed, or is gone.
    const OF_TYPES: [&SqlState; 7] = [
        &SqlState::UNDEFINED_FUNCTION,
        &SqlState::AMBIGUOUS_FUNCTION,
        &SqlState::DATATYPE_MISMATCH,
        &SqlState::CANNOT_COERCE,
        &SqlState::INDETERMINATE_DATATYPE,
        &SqlState::AMBIGUOUS_PARAMETER,
        &SqlState::UNDEFINED_OBJECT,
    ];
    is_out_of_date(err) || err.code().is_some_and(|code| OF_TYPES.contains(&code))
}

/// Whether a statement that was prepared before has other columns now.
pub(super) fn is_out_of_date(err: &Error) -> bool {
    err.as_db_error().is_some_and(|said| {
        *said.code() == SqlState::FEATURE_NOT_SUPPORTED && said.routine() == Some("RevalidateCachedQuery")
    })
}

/// Whether a look-up has failed: a name was not there, or was there already.
pub(crate) fn is_of_look_up(err: &Error) -> bool {
    let code = err.code();
    code == Some(&SqlState::INVALID_SQL_STATEMENT_NAME) || code == Some(&SqlState::DUPLICATE_PSTATEMENT)
}

/// Whether the driver has refused a parameter, so that nothing was sent.
pub(crate) fn is_of_parameter(err: &Error) -> bool {
    err.as_db_error().is_none() && err.to_string().starts_with("error serializing parameter ")
}

/// Whether the server has refused the text of a statement for the types of its parameters, before anything in it has run.
///
/// Such an error has a place in the text, and is not said by a function. To be asked only of what comes before the description of an answer.
pub(crate) fn is_of_analysis(err: &Error) -> bool {
    let said = err.as_db_error().filter(|_| may_be_out_of_date(err));
    said.is_some_and(|said| {
        said.where_().is_none() && matches!(said.position(), Some(ErrorPosition::Original(_)))
    })
}
