"""One Ansible run of one role on many machines: inputs as pure data in, one result per machine out."""
