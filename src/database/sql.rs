//! stub until merged
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Traces {
    pub(crate) session: bool,
    pub(crate) transaction: bool,
    pub(crate) statements: bool,
}
impl Traces {
    pub(crate) const UNKNOWN: Self = Self { session: true, transaction: true, statements: false };
    pub(crate) fn union(self, o: Self) -> Self {
        Self {
            session: self.session | o.session,
            transaction: self.transaction | o.transaction,
            statements: self.statements | o.statements,
        }
    }
}
pub(crate) fn traces(sql: &str) -> Traces {
    let head = sql.trim_start().to_ascii_lowercase();
    if ["select", "insert", "update", "delete"].iter().any(|w| head.starts_with(w)) && !head.contains('(') {
        Traces::default()
    } else {
        Traces::UNKNOWN
    }
}
