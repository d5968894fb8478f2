//! One SQLite database in memory: the only code that calls SQLite.
//!
//! SQLite receives bytes (`sqlite3_deserialize`) and returns bytes; it never opens a path, so no link, journal or lock
//! of an image reaches it (threat T18). It runs in defensive mode, does not trust the schema, runs no triggers and
//! views and attaches nothing; and before the first table is read, the schema must be one that NSS makes. Nothing here
//! knows what an object means.
//!
//! A database in WAL mode is read as if it were not (a memory database cannot have a log; the caller has checked that
//! there is none), and written with its mode as it was: the next program to open it finds the mode that it had.
#![expect(clippy::disallowed_methods, reason = "the one user of SQLite; opens memory, never a path")]

use std::collections::BTreeMap;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, MAIN_DB, OpenFlags, OptionalExtension, ToSql, params, params_from_iter};

use super::attributes::{self, AttributeNumber};
use super::refusal::{NssRefusal, Result};
use super::schema::{self, Object};
use crate::text;

/// The magic number at the beginning of every SQLite database.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The position of the page size in its header.
const PAGE_SIZE: std::ops::Range<usize> = 16..18;
/// The position of the journal mode (two bytes, for writing and reading), and the two values.
const JOURNAL_VERSIONS: std::ops::Range<usize> = 18..20;
const ROLLBACK: [u8; 2] = [1, 1];
const WAL: [u8; 2] = [2, 2];

/// The size of a page, from the header of at least 20 bytes: a power of two, of which 65,536 is written as 1.
fn page_size(bytes: &[u8]) -> usize {
    match bytes[PAGE_SIZE] {
        [0, 1] => 1 << 16,
        [high, low] => usize::from(u16::from_be_bytes([high, low])).max(1),
        _ => 1,
    }
}

/// The largest number of an object: NSS uses 30 bits.
pub(super) const MAX_ID: u32 = 0x3fff_ffff;

/// An object: its number and its attributes, as in the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObjectRow {
    /// From 1 to [`MAX_ID`].
    pub(super) id: u32,
    /// The columns that are not NULL.
    pub(super) values: BTreeMap<AttributeNumber, Vec<u8>>,
}

impl ObjectRow {
    /// The value of `attribute`; an empty one as NSS writes it is empty here.
    pub(super) fn get(&self, attribute: AttributeNumber) -> Option<&[u8]> {
        self.values.get(&attribute).map(Vec::as_slice).map(|value| match value {
            value if *value == attributes::EMPTY => &[],
            value => value,
        })
    }

    /// The value of `attribute` as a number.
    pub(super) fn number(&self, attribute: AttributeNumber) -> Option<u32> {
        self.get(attribute)?.try_into().ok().map(u32::from_be_bytes)
    }
}

/// A database in memory.
pub(super) struct Database {
    connection: Connection,
    /// The name of the file, for messages.
    file: &'static str,
    /// The original bytes.
    read: Option<Vec<u8>>,
    /// The table of objects.
    table: &'static str,
    columns: Vec<AttributeNumber>,
    has_meta_data: bool,
}

impl Database {
    /// A new, empty database, the same bytes each time.
    pub(super) fn create(file: &'static str, table: &'static str, meta_data: bool) -> Result<Database> {
        let failed = |error| damaged(file, &error);
        let connection = connect().map_err(failed)?;
        connection.execute_batch(&schema::objects(table)).map_err(failed)?;
        if meta_data {
            connection.execute_batch(schema::meta_data()).map_err(failed)?;
        }
        let columns = attributes::COLUMNS.to_vec();
        Ok(Database { connection, file, read: None, table, columns, has_meta_data: meta_data })
    }

    /// Opens `bytes` as the database with the objects in `table`.
    pub(super) fn open(file: &'static str, table: &'static str, bytes: &[u8]) -> Result<Database> {
        if bytes.len() > super::SIZE_LIMIT {
            return Err(NssRefusal::TooLarge(file));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(NssRefusal::NotSqlite(file));
        }
        let mut without_wal = bytes.to_vec();
        match without_wal.get_mut(JOURNAL_VERSIONS) {
            Some(versions) if *versions == WAL => versions.copy_from_slice(&ROLLBACK),
            Some(versions) if *versions == ROLLBACK => {}
            _ => return Err(NssRefusal::Damaged(file, "a header that SQLite does not write".to_owned())),
        }
        // SQLite itself would complete a truncated last page.
        if !bytes.len().is_multiple_of(page_size(bytes)) {
            return Err(NssRefusal::Damaged(file, "cut off".to_owned()));
        }
        let failed = |error| damaged(file, &error);
        let mut connection = connect().map_err(failed)?;
        connection
            .deserialize_read_exact(MAIN_DB, &without_wal[..], without_wal.len(), false)
            .map_err(failed)?;
        let objects = read_schema(&connection).map_err(failed)?;
        let tables = schema::check(&objects).map_err(|why| NssRefusal::Schema(file, why))?;
        let verdict: String =
            connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(NssRefusal::Damaged(file, format!("damaged: {}", text::escape(&verdict))));
        }
        let Some((_, columns)) = tables.objects.into_iter().find(|(name, _)| *name == table) else {
            return Err(NssRefusal::Schema(file, format!("no table `{table}`")));
        };
        let read = Some(bytes.to_vec());
        Ok(Database { connection, file, read, table, columns, has_meta_data: tables.meta_data })
    }

    /// Whether there is a table of meta data.
    pub(super) fn has_meta_data(&self) -> bool {
        self.has_meta_data
    }

    /// Whether anything was changed.
    pub(super) fn is_changed(&self) -> bool {
        self.read.is_none() || self.connection.total_changes() > 0
    }

    /// Begins a change that [`Database::end`] ends.
    pub(super) fn begin(&self) -> Result<()> {
        self.connection.execute_batch("BEGIN").map_err(|error| damaged(self.file, &error))
    }

    /// Keeps what was changed since [`Database::begin`], or not.
    pub(super) fn end(&self, keep: bool) -> Result<()> {
        let sql = if keep { "COMMIT" } else { "ROLLBACK" };
        self.connection.execute_batch(sql).map_err(|error| damaged(self.file, &error))
    }

    /// The bytes of the file; those that were read if nothing was changed.
    pub(super) fn into_bytes(mut self) -> Result<Vec<u8>> {
        let changed = self.is_changed();
        if let (Some(read), false) = (&mut self.read, changed) {
            return Ok(std::mem::take(read));
        }
        let data = self.connection.serialize(MAIN_DB).map_err(|error| damaged(self.file, &error))?;
        let mut bytes = data.to_vec();
        let was_wal = self.read.is_some_and(|read| read.get(JOURNAL_VERSIONS) == Some(&WAL));
        if let (Some(versions), true) = (bytes.get_mut(JOURNAL_VERSIONS), was_wal) {
            versions.copy_from_slice(&WAL);
        }
        Ok(bytes)
    }

    // --- objects ---

    /// All objects, with these attributes and no others.
    pub(super) fn all(&self, wanted: &[AttributeNumber]) -> Result<Vec<ObjectRow>> {
        let columns: Vec<AttributeNumber> =
            self.columns.iter().copied().filter(|column| wanted.contains(column)).collect();
        self.select(&columns, "", &[])
    }

    /// The objects whose attributes have these values, whole.
    pub(super) fn find(&self, values: &[(AttributeNumber, &[u8])]) -> Result<Vec<ObjectRow>> {
        if let Some((missing, _)) = values.iter().find(|(attribute, _)| !self.columns.contains(attribute)) {
            return Err(self.no_column(*missing));
        }
        let terms: Vec<String> =
            values.iter().map(|(attribute, _)| format!("{} = ?", attributes::column(*attribute))).collect();
        let values: Vec<&[u8]> = values.iter().map(|(_, value)| *value).collect();
        self.select(&self.columns, &format!(" WHERE {}", terms.join(" AND ")), &values)
    }

    /// Whether an object has this number.
    pub(super) fn has(&self, id: u32) -> Result<bool> {
        let sql = format!("SELECT 1 FROM {} WHERE id = ?", self.table);
        let found = self.connection.query_row(&sql, [id], |_| Ok(())).optional();
        found.map(|found| found.is_some()).map_err(|e| self.failed(&e))
    }

    /// A number that no object has and no signature names: `wanted` or one of the next.
    pub(super) fn free_id(&self, wanted: u32, signatures: &Database) -> Result<u32> {
        let mut id = wanted.clamp(1, MAX_ID);
        while self.has(id)? || !signatures.signatures(id)?.is_empty() {
            id = id % MAX_ID + 1;
        }
        Ok(id)
    }

    /// Adds an object.
    pub(super) fn insert(&self, row: &ObjectRow) -> Result<()> {
        if let Some(missing) = row.values.keys().find(|attribute| !self.columns.contains(attribute)) {
            return Err(self.no_column(*missing));
        }
        let columns: String =
            row.values.keys().map(|attribute| format!(", {}", attributes::column(*attribute))).collect();
        let places = ", ?".repeat(row.values.len());
        let sql = format!("INSERT INTO {} (id{columns}) VALUES (?{places})", self.table);
        let id: [&dyn ToSql; 1] = [&row.id];
        let values = row.values.values().map(|value| value as &dyn ToSql);
        self.connection
            .execute(&sql, params_from_iter(id.into_iter().chain(values)))
            .map_err(|e| self.failed(&e))?;
        Ok(())
    }

    /// Removes an object.
    pub(super) fn delete(&self, id: u32) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE id = ?", self.table);
        self.connection.execute(&sql, [id]).map_err(|e| self.failed(&e))?;
        Ok(())
    }

    fn select(
        &self,
        columns: &[AttributeNumber],
        condition: &str,
        values: &[&[u8]],
    ) -> Result<Vec<ObjectRow>> {
        let names: String =
            columns.iter().map(|column| format!(", {}", attributes::column(*column))).collect();
        let sql = format!("SELECT id{names} FROM {}{condition} ORDER BY rowid", self.table);
        let mut found = Vec::new();
        let mut statement = self.connection.prepare(&sql).map_err(|e| self.failed(&e))?;
        let mut rows = statement.query(params_from_iter(values)).map_err(|e| self.failed(&e))?;
        while let Some(row) = rows.next().map_err(|e| self.failed(&e))? {
            // NSS writes no other numbers; an object with one is not NSS's.
            let ValueRef::Integer(id) = row.get_ref(0).map_err(|e| self.failed(&e))? else { continue };
            let Some(id) = u32::try_from(id).ok().filter(|id| (1..=MAX_ID).contains(id)) else { continue };
            let mut object = ObjectRow { id, values: BTreeMap::new() };
            for (index, column) in columns.iter().enumerate() {
                match row.get_ref(index + 1).map_err(|e| self.failed(&e))? {
                    ValueRef::Null => {}
                    ValueRef::Blob(value) | ValueRef::Text(value) => {
                        object.values.insert(*column, value.to_vec());
                    }
                    // NSS does not write that; it would get the text.
                    ValueRef::Integer(number) => {
                        object.values.insert(*column, number.to_string().into_bytes());
                    }
                    ValueRef::Real(number) => {
                        object.values.insert(*column, number.to_string().into_bytes());
                    }
                }
            }
            found.push(object);
        }
        Ok(found)
    }

    // --- meta data ---

    /// Both items of an entry; an item that is NULL is empty. `None` if there is no entry.
    pub(super) fn meta_data(&self, id: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        if !self.has_meta_data {
            return Ok(None);
        }
        let item = |value: ValueRef<'_>| match value {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        self.connection
            .query_row("SELECT item1, item2 FROM metaData WHERE id = ?", [id], |row| {
                Ok((item(row.get_ref(0)?), item(row.get_ref(1)?)))
            })
            .optional()
            .map_err(|e| self.failed(&e))
    }

    /// The signatures of the attributes of object `id` of `cert9.db`.
    pub(super) fn signatures(&self, id: u32) -> Result<BTreeMap<AttributeNumber, Vec<u8>>> {
        let mut found = BTreeMap::new();
        if !self.has_meta_data {
            return Ok(found);
        }
        let sql = "SELECT id, item1 FROM metaData WHERE id >= ? AND id < ?";
        let mut statement = self.connection.prepare(sql).map_err(|e| self.failed(&e))?;
        let mut rows = statement.query(signature_range(id)).map_err(|e| self.failed(&e))?;
        while let Some(row) = rows.next().map_err(|e| self.failed(&e))? {
            if let (Ok(ValueRef::Text(name)), Ok(ValueRef::Blob(signature))) =
                (row.get_ref(0), row.get_ref(1))
                && let Ok(name) = std::str::from_utf8(name)
                && let Ok(attribute) = u32::from_str_radix(name.rsplit('_').next().unwrap_or_default(), 16)
                && signature_name(id, attribute) == name
            {
                found.insert(attribute, signature.to_vec());
            }
        }
        Ok(found)
    }

    /// Adds the signature of an attribute of object `id` of `cert9.db`.
    pub(super) fn insert_signature(
        &self,
        id: u32,
        attribute: AttributeNumber,
        signature: &[u8],
    ) -> Result<()> {
        self.connection
            .execute(
                "INSERT INTO metaData (id, item1) VALUES (?, ?)",
                params![signature_name(id, attribute), signature],
            )
            .map_err(|e| self.failed(&e))?;
        Ok(())
    }

    /// Removes all signatures of object `id` of `cert9.db`.
    pub(super) fn delete_signatures(&self, id: u32) -> Result<()> {
        if self.has_meta_data {
            self.connection
                .execute("DELETE FROM metaData WHERE id >= ? AND id < ?", signature_range(id))
                .map_err(|e| self.failed(&e))?;
        }
        Ok(())
    }

    fn no_column(&self, attribute: AttributeNumber) -> NssRefusal {
        NssRefusal::Schema(self.file, format!("no column `{}`", attributes::column(attribute)))
    }

    fn failed(&self, error: &rusqlite::Error) -> NssRefusal {
        damaged(self.file, error)
    }
}

fn signature_name(id: u32, attribute: AttributeNumber) -> String {
    format!("sig_cert_{id:08x}_{attribute:08x}")
}

/// From the first name that a signature of `id` can have to after the last: `` ` `` follows `_`.
fn signature_range(id: u32) -> [String; 2] {
    [format!("sig_cert_{id:08x}_"), format!("sig_cert_{id:08x}`")]
}

/// An empty database in memory that does nothing by itself.
fn connect() -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_in_memory_with_flags(flags)?;
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    // Checks damaged pages before they are used.
    connection
        .execute_batch("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0")?;
    Ok(connection)
}

fn read_schema(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let rows = statement
        .query_map([], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? }))?;
    rows.collect()
}

/// SQLite's message may quote the database (threat T15).
fn damaged(file: &'static str, error: &rusqlite::Error) -> NssRefusal {
    NssRefusal::Damaged(file, format!("SQLite says `{}`", text::escape(&error.to_string())))
}
