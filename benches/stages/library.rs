//! The library calls themselves, one after the other, with nothing around them.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zstd::bulk::{Compressor, Decompressor};

use super::Result;

const KEY: [u8; 32] = [7; 32];

const LEVEL: i32 = 1;

/// Reads into four buffers in turn.
pub fn read(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut buffers = vec![vec![0; 1 << 20]; 4];
    for (n, at) in (0..length).step_by(1 << 20).enumerate() {
        file.read_exact_at(&mut buffers[n % 4], at)?;
    }
    black_box(&buffers);
    Ok(())
}

pub fn name(chunks: &[Bytes]) -> Result<()> {
    for chunk in chunks {
        black_box(blake3::keyed_hash(&KEY, chunk));
    }
    Ok(())
}

pub fn compress(chunks: &[Bytes]) -> Result<()> {
    let mut compressor = Compressor::new(LEVEL)?;
    let largest = chunks.iter().map(Bytes::len).max().unwrap_or(0);
    let mut record = vec![0; zstd::zstd_safe::compress_bound(largest)];
    for chunk in chunks {
        black_box(compressor.compress_to_buffer(chunk, &mut record[..])?);
    }
    Ok(())
}

/// Names, compresses, encrypts and hashes; with `check` decrypts, decompresses and names what came out.
pub fn store(chunks: &[Bytes], check: bool) -> Result<()> {
    let key = key()?;
    let mut compressor = Compressor::new(LEVEL)?;
    let mut decompressor = Decompressor::new()?;
    let largest = chunks.iter().map(Bytes::len).max().unwrap_or(0);
    let mut record = vec![0; zstd::zstd_safe::compress_bound(largest)];
    let mut plain = vec![0; largest];
    let mut pack = blake3::Hasher::new();
    for (n, chunk) in chunks.iter().enumerate() {
        black_box(blake3::keyed_hash(&KEY, chunk));
        let length = compressor.compress_to_buffer(chunk, &mut record[..])?;
        let tag = key
            .seal_in_place_separate_tag(nonce(n), Aad::empty(), &mut record[..length])
            .map_err(|_| "ring refused")?;
        pack.update(&record[..length]);
        if check {
            open(&key, n, &mut record[..length], tag)?;
            let opened = decompressor.decompress_to_buffer(&record[..length], &mut plain[..])?;
            black_box(blake3::keyed_hash(&KEY, &plain[..opened]));
        }
    }
    black_box(pack.finalize());
    Ok(())
}

/// Records to be opened.
pub struct Records {
    records: Vec<(Vec<u8>, ring::aead::Tag)>,
    largest: usize,
}

impl Records {
    pub fn new(chunks: &[Bytes]) -> Result<Self> {
        let key = key()?;
        let mut compressor = Compressor::new(LEVEL)?;
        let records = chunks.iter().enumerate().map(|(n, chunk)| {
            let mut record = compressor.compress(chunk)?;
            let tag = key
                .seal_in_place_separate_tag(nonce(n), Aad::empty(), &mut record)
                .map_err(|_| "ring refused")?;
            Ok((record, tag))
        });
        Ok(Self {
            records: records.collect::<Result<_>>()?,
            largest: chunks.iter().map(Bytes::len).max().unwrap_or(0),
        })
    }

    pub fn decrypt(&self) -> Result<()> {
        let key = key()?;
        let mut record = Vec::new();
        for (n, (sealed, tag)) in self.records.iter().enumerate() {
            record.clear();
            record.extend_from_slice(sealed);
            open(&key, n, &mut record, *tag)?;
        }
        black_box(record);
        Ok(())
    }

    pub fn open(&self) -> Result<()> {
        let key = key()?;
        let mut decompressor = Decompressor::new()?;
        let mut record = Vec::new();
        let mut plain = vec![0; self.largest];
        for (n, (sealed, tag)) in self.records.iter().enumerate() {
            record.clear();
            record.extend_from_slice(sealed);
            open(&key, n, &mut record, *tag)?;
            let opened = decompressor.decompress_to_buffer(&record, &mut plain[..])?;
            black_box(blake3::keyed_hash(&KEY, &plain[..opened]));
        }
        Ok(())
    }
}

fn open(key: &LessSafeKey, n: usize, record: &mut [u8], tag: ring::aead::Tag) -> Result<()> {
    let opened = key.open_in_place_separate_tag(nonce(n), Aad::empty(), tag, record, 0..);
    opened.map_err(|_| "ring refused")?;
    Ok(())
}

fn key() -> Result<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, &KEY).map_err(|_| "ring refused the key")?;
    Ok(LessSafeKey::new(key))
}

fn nonce(n: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&(n as u64).to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
