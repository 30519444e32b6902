//! Disks behind a connection to a `qemu-nbd`.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use raksha_core::cloud::{DiskReader, DiskWriter, Extent};
use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use tokio::sync::Mutex;

use super::client::Connection;
use super::process::{QemuNbd, Served};
use crate::roads::options::RoadOptions;

/// How disks are served.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// The program.
    pub(crate) program: PathBuf,
    /// Where its sockets are made.
    pub(crate) work: PathBuf,
    /// How long it may take to be ready, and to answer a request.
    pub(crate) deadline: Duration,
    pub(crate) env: Env,
}

impl Server {
    pub(crate) fn new(options: &RoadOptions, env: &Env) -> Self {
        Self {
            program: options.qemu_nbd.clone(),
            work: options.work.clone(),
            deadline: options.request,
            env: env.clone(),
        }
    }

    async fn connect(&self, served: &Served) -> Result<(QemuNbd, Connection)> {
        let (mut process, stream) =
            QemuNbd::start(&self.program, served, &self.work, self.deadline, &self.env).await?;
        let connection = match Connection::open(stream, self.deadline).await {
            Ok(connection) => connection,
            Err(error) => return Err(process.refused(error).await),
        };
        Ok((process, connection))
    }

    /// Opens a disk of exactly `size` bytes for reading.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if the disk has another size (qemu rounds up to 512 bytes), and the process's.
    pub(crate) async fn read(&self, served: &Served, size: u64) -> Result<NbdReader> {
        let (process, connection) = self.connect(served).await?;
        check_size(&connection, size, served)?;
        Ok(NbdReader {
            connection,
            process,
            size,
        })
    }

    /// Opens a disk of exactly `size` bytes for writing. If it is `blank`, it is known to read as zeroes, and zeroes are not written.
    ///
    /// # Errors
    /// [`Kind::Denied`] if the server does not let it be written, and those of [`read`](Self::read).
    pub(crate) async fn write(&self, served: &Served, size: u64, blank: bool) -> Result<NbdWriter> {
        let (process, connection) = self.connect(served).await?;
        check_size(&connection, size, served)?;
        if connection.export().read_only {
            let message = "the server offers the disk for reading only";
            let error = Error::new(Kind::Denied, "open disk over NBD", message);
            return Err(error.with("disk", &served.name));
        }
        Ok(NbdWriter {
            size,
            blank,
            deadline: self.deadline,
            name: served.name.clone(),
            open: Mutex::new(Some(Arc::new(Open {
                connection,
                process: Mutex::new(process),
            }))),
        })
    }
}

fn check_size(connection: &Connection, size: u64, served: &Served) -> Result<()> {
    let there = connection.export().size;
    if there == size || (there > size && there - size < 512) {
        return Ok(());
    }
    let message = format!("the disk has {there} bytes where {size} are expected");
    Err(Error::new(Kind::Corrupt, "open disk over NBD", message).with("disk", &served.name))
}

fn check_range(range: &Range<u64>, size: u64) -> Result<()> {
    if range.start <= range.end && range.end <= size {
        return Ok(());
    }
    let message = "the range reaches beyond the end of the disk";
    Err(Error::new(Kind::Invalid, "access disk over NBD", message)
        .with("range", format!("{}..{}", range.start, range.end))
        .with("size", size))
}

/// Reads a disk through a `qemu-nbd` of its own.
#[derive(Debug)]
pub(crate) struct NbdReader {
    // Before the process, which then ends by itself.
    connection: Connection,
    process: QemuNbd,
    size: u64,
}

#[async_trait]
impl DiskReader for NbdReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        check_range(&range, self.size)?;
        let extents = self.connection.extents(range).await;
        extents.map_err(|error| self.process.explain(error))
    }

    async fn read_at(&self, offset: u64, buffer: BytesMut) -> Result<BytesMut> {
        let end = offset.checked_add(buffer.len() as u64);
        check_range(&(offset..end.unwrap_or(u64::MAX)), self.size)?;
        let read = self.connection.read(offset, buffer).await;
        read.map_err(|error| self.process.explain(error))
    }
}

/// Writes a disk through a `qemu-nbd` of its own. Whole once [`finish`](DiskWriter::finish) has flushed and closed it.
#[derive(Debug)]
pub(crate) struct NbdWriter {
    size: u64,
    blank: bool,
    deadline: Duration,
    name: String,
    /// None once it is finished.
    open: Mutex<Option<Arc<Open>>>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    process: Mutex<QemuNbd>,
}

impl NbdWriter {
    async fn opened(&self) -> Result<Arc<Open>> {
        self.open.lock().await.clone().ok_or_else(|| {
            let message = "the disk was finished: nothing can be written any more";
            Error::new(Kind::Invalid, "write disk over NBD", message).with("disk", &self.name)
        })
    }
}

#[async_trait]
impl DiskWriter for NbdWriter {
    async fn write_at(&self, offset: u64, data: Bytes) -> Result<()> {
        let end = offset.checked_add(data.len() as u64);
        check_range(&(offset..end.unwrap_or(u64::MAX)), self.size)?;
        let open = self.opened().await?;
        match open.connection.write(offset, data).await {
            Ok(()) => Ok(()),
            Err(error) => Err(open.process.lock().await.explain(error)),
        }
    }

    async fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        check_range(&range, self.size)?;
        let open = self.opened().await?;
        if self.blank {
            return Ok(());
        }
        match open.connection.write_zeroes(range).await {
            Ok(()) => Ok(()),
            Err(error) => Err(open.process.lock().await.explain(error)),
        }
    }

    async fn finish(&self) -> Result<()> {
        let open = self.opened().await?;
        let closed = async {
            open.connection.flush().await?;
            open.connection.disconnect().await
        };
        let mut process = open.process.lock().await;
        match closed.await {
            Ok(()) => process.ended(self.deadline).await?,
            Err(error) => return Err(process.explain(error)),
        }
        drop(process);
        self.open.lock().await.take();
        Ok(())
    }
}
