//! The schema of NSS' databases: how we make it, and which existing ones we accept.
//!
//! SQLite evaluates a schema's content (views, triggers, checks, generated columns, expressions in indexes) when a
//! table is read or written. So a database is used only if its schema, as text, is what NSS makes: plain tables,
//! columns that are only a name, plain indexes (threat T18). Nothing here runs SQL.

use super::attributes::{self, AttributeNumber, COLUMNS};

/// The table of public objects (certificates, trust), in `cert9.db`.
pub(super) const PUBLIC: &str = "nssPublic";
/// The table of private objects, in `key4.db`.
pub(super) const PRIVATE: &str = "nssPrivate";
/// The table of the password and the signatures, in `key4.db`.
pub(super) const META_DATA: &str = "metaData";

const META_DATA_SQL: &str = "CREATE TABLE metaData (id PRIMARY KEY UNIQUE ON CONFLICT REPLACE, item1, item2)";

/// The indexes of a table of objects, by name.
const INDEXES: [(&str, AttributeNumber); 4] = [
    ("issuer", attributes::ISSUER),
    ("subject", attributes::SUBJECT),
    ("label", attributes::LABEL),
    ("ckaid", attributes::ID),
];

/// One row of `sqlite_schema`.
#[derive(Debug)]
pub(super) struct Object {
    /// `table`, `index`, `view` or `trigger`.
    pub(super) kind: String,
    /// Its name.
    pub(super) name: String,
    /// The statement that made it; SQLite's own indexes have none.
    pub(super) sql: Option<String>,
}

/// The statements that make an empty table of objects.
pub(super) fn objects(table: &str) -> String {
    let columns: String = COLUMNS.iter().map(|number| format!(", {}", attributes::column(*number))).collect();
    let mut sql = format!("{}{columns});\n", objects_head(table));
    for (index, column) in INDEXES {
        sql.push_str(&format!("CREATE INDEX {index} ON {table} ({});\n", attributes::column(column)));
    }
    sql
}

/// The statement that makes an empty table of meta data.
pub(super) fn meta_data() -> &'static str {
    META_DATA_SQL
}

fn objects_head(table: &str) -> String {
    format!("CREATE TABLE {table} (id PRIMARY KEY UNIQUE ON CONFLICT ABORT")
}

/// The tables of an accepted schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// The attributes that have columns in a table of objects, in order, by table.
    pub(super) objects: Vec<(&'static str, Vec<AttributeNumber>)>,
    /// Whether there is meta data.
    pub(super) meta_data: bool,
}

/// The tables of the schema; the error names what NSS does not make.
pub(super) fn check(schema: &[Object]) -> Result<Tables, String> {
    let mut tables = Tables::default();
    for object in schema {
        let sql = object.sql.as_deref().map(|sql| sql.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        let accepted = match (object.kind.as_str(), object.name.as_str(), sql.as_deref()) {
            ("table", META_DATA, Some(sql)) => {
                tables.meta_data = true;
                sql == META_DATA_SQL
            }
            ("table", PUBLIC, Some(sql)) => add_objects(&mut tables, PUBLIC, sql),
            ("table", PRIVATE, Some(sql)) => add_objects(&mut tables, PRIVATE, sql),
            // Statistics that `ANALYZE` leaves; SQLite reserves the names.
            ("table", "sqlite_stat1", Some(sql)) => sql == "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
            ("table", "sqlite_stat4", Some(sql)) => {
                sql == "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"
            }
            ("index", _, None) => true,
            ("index", name, Some(sql)) => is_plain_index(name, sql),
            _ => false,
        };
        if !accepted {
            // Both are text of the database (threat T15).
            let (kind, name) = (crate::text::escape(&object.kind), crate::text::escape(&object.name));
            return Err(format!("not a schema of NSS: the {kind} `{name}`"));
        }
    }
    Ok(tables)
}

fn add_objects(tables: &mut Tables, table: &'static str, sql: &str) -> bool {
    let columns = sql.strip_prefix(&objects_head(table)).and_then(|rest| rest.strip_suffix(')'));
    let Some(columns) = columns else { return false };
    let mut found = Vec::new();
    for column in columns.split(',').skip(1) {
        match attributes::attribute(column.trim()) {
            Some(attribute) => found.push(attribute),
            None => return false,
        }
    }
    // Text before the first comma would belong to `id`.
    if columns.split(',').next().is_none_or(|before| !before.trim().is_empty()) {
        return false;
    }
    tables.objects.push((table, found));
    true
}

/// `CREATE INDEX name ON table (column, …)`, of columns only.
fn is_plain_index(name: &str, sql: &str) -> bool {
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let body = || {
        let rest = sql.strip_prefix("CREATE INDEX ")?.strip_prefix(name)?.strip_prefix(" ON ")?;
        let (table, columns) = rest.strip_suffix(')')?.split_once('(')?;
        Some((table.trim(), columns))
    };
    is_word(name)
        && body().is_some_and(|(table, columns)| {
            matches!(table, PUBLIC | PRIVATE | META_DATA) && columns.split(',').all(|c| is_word(c.trim()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str, sql: &str) -> Object {
        Object { kind: kind.to_owned(), name: name.to_owned(), sql: Some(sql.to_owned()) }
    }

    #[test]
    fn what_nss_makes_is_accepted() {
        let table =
            "CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a0, a81, ace536358, a62c)";
        let schema = [
            object("table", "nssPublic", table),
            Object { kind: "index".into(), name: "sqlite_autoindex_nssPublic_1".into(), sql: None },
            object("index", "issuer", "CREATE INDEX issuer ON nssPublic (a81)"),
            object("table", "metaData", META_DATA_SQL),
            object("table", "sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
        ];
        let columns = vec![0, 0x81, 0xce53_6358, 0x62c];
        assert_eq!(check(&schema), Ok(Tables { objects: vec![(PUBLIC, columns)], meta_data: true }));
    }

    #[test]
    fn what_sqlite_would_evaluate_is_refused() {
        let head = "CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT";
        for (kind, name, sql) in [
            ("view", "nssPublic", "CREATE VIEW nssPublic AS SELECT 1"),
            ("trigger", "t", "CREATE TRIGGER t AFTER INSERT ON nssPublic BEGIN SELECT 1; END"),
            ("table", "other", "CREATE TABLE other (a)"),
            ("table", "nssPublic", "CREATE VIRTUAL TABLE nssPublic USING fts5(a0)"),
            ("table", "nssPublic", &format!("{head}, a0 CHECK (load_extension('x')))")),
            ("table", "nssPublic", &format!("{head}, a0 DEFAULT 1)")),
            ("table", "nssPublic", &format!("{head}, a0 AS (1))")),
            ("table", "nssPublic", &format!("{head} CHECK (1), a0)")),
            ("table", "nssPublic", &format!("{head}, a0) STRICT")),
            ("table", "nssPublic", &format!("{head}, a0, CHECK (a0))")),
            ("table", "metaData", "CREATE TABLE metaData (id PRIMARY KEY, item1, item2)"),
            (
                "table",
                "sqlite_stat1",
                "CREATE TRIGGER t AFTER INSERT ON nssPublic BEGIN SELECT 'sqlite_stat1'; END",
            ),
            ("index", "issuer", "CREATE INDEX issuer ON nssPublic (abs(a81))"),
            ("index", "issuer", "CREATE INDEX issuer ON nssPublic (a81) WHERE a0"),
            ("index", "issuer", "CREATE UNIQUE INDEX issuer ON nssPublic (a81)"),
            ("index", "issuer", "CREATE INDEX issuer ON nssPublic (a81 COLLATE nocase)"),
        ] {
            let why = check(&[object(kind, name, sql)]).expect_err(sql);
            assert!(why.contains(name), "{why}");
        }
    }
}
