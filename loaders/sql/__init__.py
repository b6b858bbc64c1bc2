"""SQL for people and their tools: one statement, a prompt, and a server for JDBC and ODBC."""
