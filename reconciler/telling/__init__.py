"""After the record: status pages, their branch, mails and webhooks."""
