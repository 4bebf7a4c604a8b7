"""What Ansible loads by path. Nothing of ours imports it."""
