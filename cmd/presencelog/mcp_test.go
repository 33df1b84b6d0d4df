package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestMCPOnStandardInput(t *testing.T) {
	t.Parallel()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "mcp", "--database-url", pgtest.URL(t))
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: command, TerminateDuration: pgtest.Timeout}, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "list_instances"})
	if err != nil || res.IsError || !strings.Contains(res.Content[0].(*mcp.TextContent).Text, `"instances":[]`) {
		t.Fatalf("%+v %v", res, err)
	}
	if err := session.Close(); err != nil {
		t.Error(err)
	}
}
