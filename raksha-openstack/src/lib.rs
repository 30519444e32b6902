//! raksha-openstack.
