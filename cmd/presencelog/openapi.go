package main

import (
	"os"

	"github.com/presencelog/presencelog/internal/api"
)

type openAPICmd struct {
	Version string `name:"openapi" enum:"3.1,3.0" default:"3.1" help:"Version of OpenAPI: ${enum}. 3.0 is for generators that do not support 3.1."`
}

func (c openAPICmd) Run() error {
	document, err := api.Document(version(), c.Version)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(document, '\n'))
	return err
}
