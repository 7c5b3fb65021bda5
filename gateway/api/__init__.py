"""What is asked and answered, in whatever form: operations, parameters, problems, and the description of them all."""
