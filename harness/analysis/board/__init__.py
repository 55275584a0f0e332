"""Boards that people submit rows to: suites, submissions, checks, and tables of equals."""
