//! librados, loaded when it is needed: the only unsafe code of this crate, behind a safe face.
//!
//! Declarations follow `rados/librados.h` of Ceph 15 and later. What makes them safe to call is the same everywhere, and is kept by
//! the types of this file:
//!
//! - handles are made by librados and released once, when their owner is dropped; a pool keeps its cluster alive;
//! - a cluster and a pool are shared between threads only after they were set up (librados locks inside; only changing a pool's
//!   namespace is not for several threads, and is done before anybody else has the pool);
//! - operations are made, filled, carried out and released in one function, on one thread, so that every pointer given to librados
//!   points to something that outlives the call. librados copies what is written.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::ptr::{null, null_mut};
use std::sync::{Arc, OnceLock};

use libloading::Library;

/// The library's name: Debian's, Red Hat's and SUSE's.
const LIBRARY: &str = "librados.so.2";

/// Of every object that we write, an attribute that tells this version of it from others.
const TAG: &CStr = c"raksha.tag";

const EXCLUSIVE: c_int = 1;
const EQUAL: u8 = 1;

type Handle = *mut c_void;

/// An error number of librados.
pub(super) fn error(code: c_int) -> io::Error {
    io::Error::from_raw_os_error(code.saturating_abs())
}

type Result<T> = io::Result<T>;

fn check(code: c_int) -> Result<()> {
    match code < 0 {
        true => Err(error(code)),
        false => Ok(()),
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of librados that we call.
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            /// Functions are valid as long as their library is loaded.
            _library: Library,
        }

        impl Functions {
            /// Loaded once and never unloaded: threads of librados may outlive the cluster that they were made for.
            fn loaded() -> std::result::Result<&'static Self, libloading::Error> {
                static LOADED: OnceLock<Functions> = OnceLock::new();
                match LOADED.get() {
                    Some(functions) => Ok(functions),
                    None => {
                        let functions = Self::load()?;
                        Ok(LOADED.get_or_init(|| functions))
                    }
                }
            }

            fn load() -> std::result::Result<Self, libloading::Error> {
                // SAFETY: librados runs initialisers of its own when loaded, and they ask nothing of us.
                let library = unsafe { Library::new(LIBRARY) }?;
                Ok(Self {
                    // SAFETY: the types are those of librados.h.
                    $($name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }?,)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    rados_create2(*mut Handle, *const c_char, *const c_char, u64) -> c_int;
    rados_conf_read_file(Handle, *const c_char) -> c_int;
    rados_conf_set(Handle, *const c_char, *const c_char) -> c_int;
    rados_conf_get(Handle, *const c_char, *mut c_char, usize) -> c_int;
    rados_connect(Handle) -> c_int;
    rados_shutdown(Handle);
    rados_ioctx_create(Handle, *const c_char, *mut Handle) -> c_int;
    rados_ioctx_set_namespace(Handle, *const c_char);
    rados_ioctx_destroy(Handle);
    rados_set_pool_full_try(Handle);
    rados_remove(Handle, *const c_char) -> c_int;
    rados_create_write_op() -> Handle;
    rados_release_write_op(Handle);
    rados_write_op_create(Handle, c_int, *const c_char);
    rados_write_op_write_full(Handle, *const c_char, usize);
    rados_write_op_setxattr(Handle, *const c_char, *const c_char, usize);
    rados_write_op_omap_cmp2(Handle, *const c_char, u8, *const c_char, usize, usize, *mut c_int);
    rados_write_op_omap_set2(Handle, *const *const c_char, *const *const c_char, *const usize, *const usize, usize);
    rados_write_op_omap_rm_keys2(Handle, *const *const c_char, *const usize, usize);
    rados_write_op_operate(Handle, Handle, *const c_char, *mut i64, c_int) -> c_int;
    rados_create_read_op() -> Handle;
    rados_release_read_op(Handle);
    rados_read_op_stat(Handle, *mut u64, *mut i64, *mut c_int);
    rados_read_op_read(Handle, u64, usize, *mut c_char, *mut usize, *mut c_int);
    rados_read_op_getxattrs(Handle, *mut Handle, *mut c_int);
    rados_getxattrs_next(Handle, *mut *const c_char, *mut *const c_char, *mut usize) -> c_int;
    rados_getxattrs_end(Handle);
    rados_read_op_omap_get_vals2(Handle, *const c_char, *const c_char, u64, *mut Handle, *mut u8, *mut c_int);
    rados_read_op_omap_get_vals_by_keys2(Handle, *const *const c_char, usize, *const usize, *mut Handle, *mut c_int);
    rados_omap_get_next2(Handle, *mut *mut c_char, *mut *mut c_char, *mut usize, *mut usize) -> c_int;
    rados_omap_get_end(Handle);
    rados_read_op_operate(Handle, Handle, *const c_char, c_int) -> c_int;
    rados_nobjects_list_open(Handle, *mut Handle) -> c_int;
    rados_nobjects_list_next(Handle, *mut *const c_char, *mut *const c_char, *mut *const c_char) -> c_int;
    rados_nobjects_list_close(Handle);
}

/// A connection to a cluster.
pub(super) struct Cluster {
    functions: &'static Functions,
    handle: Handle,
}

// SAFETY: librados locks inside; see the head of this file.
unsafe impl Send for Cluster {}
// SAFETY: the same.
unsafe impl Sync for Cluster {}

/// What went wrong while connecting, and where.
pub(super) enum Connecting {
    /// The library is not there, or is too old.
    Library(libloading::Error),
    /// A step failed.
    Step(&'static str, io::Error),
}

impl Cluster {
    /// Connects as `user` (as in `client.admin`) under the configuration in the file `conf` and `settings`. Blocks.
    pub(super) fn connect(
        user: &str,
        conf: &str,
        settings: &[(&str, String)],
    ) -> std::result::Result<Arc<Self>, Connecting> {
        let step = |step| move |e| Connecting::Step(step, e);
        let functions = Functions::loaded().map_err(Connecting::Library)?;
        let name = c_string(user).map_err(step("user"))?;
        let mut handle = null_mut();
        // SAFETY: the strings and the place for the handle outlive the call.
        let made =
            unsafe { (functions.rados_create2)(&mut handle, c"ceph".as_ptr(), name.as_ptr(), 0) };
        check(made).map_err(step("user"))?;
        // From here on, dropping it releases the handle.
        let cluster = Self { functions, handle };
        let file = c_string(conf).map_err(step("conf"))?;
        // SAFETY: the handle is alive, the string outlives the call.
        let read = unsafe { (cluster.functions.rados_conf_read_file)(handle, file.as_ptr()) };
        check(read).map_err(step("conf"))?;
        for (name, value) in settings {
            let (name, value) = (c_string(name), c_string(value));
            let (name, value) = (
                name.map_err(step("settings"))?,
                value.map_err(step("settings"))?,
            );
            // SAFETY: as above.
            let set = unsafe {
                (cluster.functions.rados_conf_set)(handle, name.as_ptr(), value.as_ptr())
            };
            check(set).map_err(step("settings"))?;
        }
        // SAFETY: the handle is alive.
        let connected = unsafe { (cluster.functions.rados_connect)(handle) };
        check(connected).map_err(step("connect"))?;
        Ok(Arc::new(cluster))
    }

    /// What this client has configured as `name`.
    pub(super) fn setting(&self, name: &str) -> Option<String> {
        let name = c_string(name).ok()?;
        let mut buffer = [0u8; 64];
        let place = buffer.as_mut_ptr().cast();
        // SAFETY: the place has as many bytes as are said; librados ends what it writes there with a zero.
        let got = unsafe {
            (self.functions.rados_conf_get)(self.handle, name.as_ptr(), place, buffer.len())
        };
        check(got).ok()?;
        let text = CStr::from_bytes_until_nul(&buffer).ok()?;
        text.to_str().ok().map(str::to_owned)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more: pools keep their cluster alive.
        unsafe { (self.functions.rados_shutdown)(self.handle) }
    }
}

/// A namespace of a pool. All of its functions block.
pub(super) struct Pool {
    cluster: Arc<Cluster>,
    handle: Handle,
}

// SAFETY: see the head of this file.
unsafe impl Send for Pool {}
// SAFETY: the same.
unsafe impl Sync for Pool {}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: nobody else has the handle, and the cluster is still alive.
        unsafe { (self.cluster.functions.rados_ioctx_destroy)(self.handle) }
    }
}

/// What was read of an object, all of it at one moment.
pub(super) struct Read {
    /// The size of the whole object.
    pub(super) size: u64,
    /// When it was written, in seconds.
    pub(super) modified: i64,
    /// What tells this version from others; objects that others wrote have none.
    pub(super) tag: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl Pool {
    pub(super) fn open(cluster: &Arc<Cluster>, pool: &str, namespace: &str) -> Result<Self> {
        let (pool, namespace) = (c_string(pool)?, c_string(namespace)?);
        let mut handle = null_mut();
        let functions = cluster.functions;
        // SAFETY: the cluster is alive and connected, the string and the place for the handle outlive the call.
        check(unsafe {
            (functions.rados_ioctx_create)(cluster.handle, pool.as_ptr(), &mut handle)
        })?;
        // SAFETY: the handle is ours alone. A full pool shall answer instead of letting us wait.
        unsafe {
            (functions.rados_ioctx_set_namespace)(handle, namespace.as_ptr());
            (functions.rados_set_pool_full_try)(handle);
        }
        Ok(Self {
            cluster: Arc::clone(cluster),
            handle,
        })
    }

    fn functions(&self) -> &'static Functions {
        self.cluster.functions
    }

    /// Stores an object, in one step; where it must not exist yet if that is `exclusive`.
    pub(super) fn write(
        &self,
        object: &str,
        bytes: &[u8],
        tag: &str,
        modified: i64,
        exclusive: bool,
    ) -> Result<()> {
        self.change(object, modified, |f, op| {
            // SAFETY: the operation is alive, librados copies tag and bytes.
            unsafe {
                if exclusive {
                    (f.rados_write_op_create)(op, EXCLUSIVE, null());
                }
                (f.rados_write_op_write_full)(op, bytes.as_ptr().cast(), bytes.len());
                (f.rados_write_op_setxattr)(op, TAG.as_ptr(), tag.as_ptr().cast(), tag.len());
            }
        })
    }

    /// Makes an empty object, which may be there already.
    pub(super) fn touch(&self, object: &str) -> Result<()> {
        // SAFETY: the operation is alive.
        self.change(object, 0, |f, op| unsafe {
            (f.rados_write_op_create)(op, 0, null());
        })
    }

    pub(super) fn remove(&self, object: &str) -> Result<()> {
        let object = c_string(object)?;
        // SAFETY: the pool is alive, the string outlives the call.
        check(unsafe { (self.functions().rados_remove)(self.handle, object.as_ptr()) })
    }

    /// Gives `key` of an object's map this value, or removes it, if its value is the expected one (which is empty where the key is not there).
    /// `ECANCELED` if it is another one, `ENOENT` if there is no such object.
    pub(super) fn exchange(
        &self,
        object: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let keys = [key.as_ptr().cast()];
        let mut compared = 0;
        self.change(object, 0, |f, op| {
            // SAFETY: the operation is alive; librados copies key and values; the place for the outcome of the comparison outlives
            // the operation.
            unsafe {
                if let Some(expected) = expected {
                    let (value, length) = (expected.as_ptr().cast(), expected.len());
                    (f.rados_write_op_omap_cmp2)(
                        op,
                        key.as_ptr().cast(),
                        EQUAL,
                        value,
                        key.len(),
                        length,
                        &mut compared,
                    );
                }
                match value {
                    Some(value) => (f.rados_write_op_omap_set2)(
                        op,
                        keys.as_ptr(),
                        [value.as_ptr().cast()].as_ptr(),
                        [key.len()].as_ptr(),
                        [value.len()].as_ptr(),
                        1,
                    ),
                    None => {
                        (f.rados_write_op_omap_rm_keys2)(op, keys.as_ptr(), [key.len()].as_ptr(), 1)
                    }
                }
            }
        })
    }

    /// Reads up to `length` bytes from `offset` on.
    pub(super) fn read(&self, object: &str, offset: u64, length: usize) -> Result<Read> {
        let (mut size, mut modified, mut got) = (0, 0, 0);
        let (mut attributes, mut outcomes) = (null_mut(), [0; 3]);
        let mut bytes = vec![0u8; length];
        let [stat, xattrs, read] = &mut outcomes;
        let done = self.ask(object, |f, op| {
            // SAFETY: the operation is alive; all the places outlive it, and the buffer has as many bytes as are said.
            unsafe {
                (f.rados_read_op_stat)(op, &mut size, &mut modified, stat);
                (f.rados_read_op_getxattrs)(op, &mut attributes, xattrs);
                if length > 0 {
                    let place = bytes.as_mut_ptr().cast();
                    (f.rados_read_op_read)(op, offset, length, place, &mut got, read);
                }
            }
        });
        let tag = self.tag(attributes, done.is_ok());
        done?;
        outcomes.into_iter().try_for_each(check)?;
        bytes.truncate(got);
        Ok(Read {
            size,
            modified,
            tag,
            bytes,
        })
    }

    /// Our attribute among those of an iterator, which is released. It has a place to begin at only if it is `filled`.
    fn tag(&self, attributes: Handle, filled: bool) -> Option<String> {
        let functions = self.functions();
        let mut found = None;
        while filled && !attributes.is_null() {
            let (mut name, mut value, mut length) = (null(), null(), 0);
            // SAFETY: the iterator is alive, and so are the places.
            let next = unsafe {
                (functions.rados_getxattrs_next)(attributes, &mut name, &mut value, &mut length)
            };
            if next < 0 || name.is_null() {
                break;
            }
            // SAFETY: librados ends names with a zero and keeps them until the iterator is released.
            if unsafe { CStr::from_ptr(name) } == TAG {
                found = text(value, length);
            }
        }
        if !attributes.is_null() {
            // SAFETY: it is released here and nowhere else.
            unsafe { (functions.rados_getxattrs_end)(attributes) }
        }
        found
    }

    /// The value of a key of an object's map.
    pub(super) fn value(&self, object: &str, key: &str) -> Result<Option<String>> {
        let (mut values, mut outcome) = (null_mut(), 0);
        let done = self.ask(object, |f, op| {
            let keys = [key.as_ptr().cast()];
            let lengths = [key.len()];
            // SAFETY: the operation is alive, librados copies the key, and the places outlive the operation.
            unsafe {
                (f.rados_read_op_omap_get_vals_by_keys2)(
                    op,
                    keys.as_ptr(),
                    1,
                    lengths.as_ptr(),
                    &mut values,
                    &mut outcome,
                );
            }
        });
        let values = self.pairs(values, done.is_ok());
        done?;
        check(outcome)?;
        Ok(values.into_iter().next().map(|(_, value)| value))
    }

    /// Keys and values of an object's map, in order: those that begin with `prefix` and come after `after`, at most `most` of them;
    /// and whether there are more.
    pub(super) fn values(
        &self,
        object: &str,
        prefix: &str,
        after: &str,
        most: u64,
    ) -> Result<(Vec<(String, String)>, bool)> {
        let (prefix, after) = (c_string(prefix)?, c_string(after)?);
        let (mut values, mut more, mut outcome) = (null_mut(), 0, 0);
        let done = self.ask(object, |f, op| {
            // SAFETY: the operation is alive; the strings and the places outlive it.
            unsafe {
                (f.rados_read_op_omap_get_vals2)(
                    op,
                    after.as_ptr(),
                    prefix.as_ptr(),
                    most,
                    &mut values,
                    &mut more,
                    &mut outcome,
                );
            }
        });
        let values = self.pairs(values, done.is_ok());
        done?;
        check(outcome)?;
        Ok((values, more != 0))
    }

    /// What an iterator over a map gives; it is released. It has a place to begin at only if it is `filled`. What is not text is not ours
    /// and left out.
    fn pairs(&self, values: Handle, filled: bool) -> Vec<(String, String)> {
        let functions = self.functions();
        let mut found = Vec::new();
        while filled && !values.is_null() {
            let (mut key, mut value, mut key_length, mut length) = (null_mut(), null_mut(), 0, 0);
            // SAFETY: the iterator is alive, and so are the places.
            let next = unsafe {
                let (key, value) = (&mut key, &mut value);
                (functions.rados_omap_get_next2)(values, key, value, &mut key_length, &mut length)
            };
            if next < 0 || key.is_null() {
                break;
            }
            found.extend(text(key, key_length).zip(text(value, length)));
        }
        if !values.is_null() {
            // SAFETY: it is released here and nowhere else.
            unsafe { (functions.rados_omap_get_end)(values) }
        }
        found
    }

    /// Calls `with` for each name in the namespace, in no order, until it says false.
    pub(super) fn names(&self, mut with: impl FnMut(&str) -> bool) -> Result<()> {
        let functions = self.functions();
        let mut listing = null_mut();
        // SAFETY: the pool is alive and so is the place for the handle.
        check(unsafe { (functions.rados_nobjects_list_open)(self.handle, &mut listing) })?;
        let outcome = loop {
            let mut name = null();
            // SAFETY: the listing is alive; what is not wanted may be null.
            let next = unsafe {
                (functions.rados_nobjects_list_next)(listing, &mut name, null_mut(), null_mut())
            };
            if next < 0 {
                let ended = error(next).kind() == io::ErrorKind::NotFound;
                break if ended { Ok(()) } else { Err(error(next)) };
            }
            // SAFETY: librados ends names with a zero and keeps this one until the next call.
            let name = unsafe { CStr::from_ptr(name) };
            if name.to_str().is_ok_and(|name| !with(name)) {
                break Ok(());
            }
        };
        // SAFETY: it is released here and nowhere else.
        unsafe { (functions.rados_nobjects_list_close)(listing) };
        outcome
    }

    /// Carries out a change that `fill` describes; stamps it with a time in seconds, or with now where that is 0.
    fn change(
        &self,
        object: &str,
        modified: i64,
        fill: impl FnOnce(&Functions, Handle),
    ) -> Result<()> {
        let object = c_string(object)?;
        let functions = self.functions();
        let mut time = modified;
        let stamp = match modified {
            0 => null_mut(),
            _ => &raw mut time,
        };
        // SAFETY: the operation is made, used and released here; the pool is alive; the string and the time outlive the call.
        let done = unsafe {
            let op = (functions.rados_create_write_op)();
            fill(functions, op);
            let done =
                (functions.rados_write_op_operate)(op, self.handle, object.as_ptr(), stamp, 0);
            (functions.rados_release_write_op)(op);
            done
        };
        check(done)
    }

    /// Asks what `fill` describes.
    fn ask(&self, object: &str, fill: impl FnOnce(&Functions, Handle)) -> Result<()> {
        let object = c_string(object)?;
        let functions = self.functions();
        // SAFETY: as in `change`; what `fill` points at outlives this call, as every caller says.
        let done = unsafe {
            let op = (functions.rados_create_read_op)();
            fill(functions, op);
            let done = (functions.rados_read_op_operate)(op, self.handle, object.as_ptr(), 0);
            (functions.rados_release_read_op)(op);
            done
        };
        check(done)
    }
}

/// Bytes of librados as text, copied; none if they are not text.
fn text(bytes: *const c_char, length: usize) -> Option<String> {
    if bytes.is_null() {
        return None;
    }
    // SAFETY: the callers have pointer and length from one call of librados, and the iterator that owns the bytes is alive.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.cast(), length) };
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
